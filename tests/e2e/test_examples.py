"""Examples of commands work as their help shows them, with a supervisor that has what they name."""

import contextlib
import json
from collections.abc import Iterator

import pytest
from tests.support.examples import calls
from tests.support.up import SITES, Up, open_folder

from cloister.cli import manual
from cloister.cli.main import cloister, main

NOT_HERE = (
    # They go on for ever, or want a terminal; the tests of each have them.
    *("up", "web", "edit"),
    # Their examples name files, users, programs or networks of a whole host.
    *("doctor /run", "doctor http", "doctor --log", "audit nginx", "run", "hosts", "apply -"),
    # tests/e2e/test_up_signer.py
    "sign",
    # tests/unit/cli/test_check_command.py
    "check --no-files",
    # tests/unit/cli/test_examples.py
    "generate",
)


def examples() -> list[list[str]]:
    """In the order of the help, so that what is stopped is started, and deleted last."""
    found = [
        words
        for entry in manual.every(cloister, "cloister")
        for words in calls(manual.examples(entry.command))
        if not any(" ".join(words).startswith(one) for one in NOT_HERE)
    ]
    unique = [list(words) for words in dict.fromkeys(map(tuple, found))]
    return sorted(unique, key=lambda words: "--delete" in words)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write({"blog": SITES["one"], "shop": SITES["two"]})
        running.start()
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


def test_there_are_examples_of_what_a_supervisor_is_asked() -> None:
    verbs = {words[0] for words in examples()}
    wanted = {"status", "logs", "get", "set", "restart", "stop", "start", "top", "explain"}
    assert wanted | {"apply", "audit", "doctor", "door", "hostname", "init"} <= verbs


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_an_example_works(up: Up, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in words if word != "-f"]
    if words[0] == "top":
        words += ["--interval", "0.1", *([] if "--once" in words else ["--once"])]
    with contextlib.chdir(up.folder):
        code = main(words)
    said = capsys.readouterr()
    assert code == 0, said.err
    if "--json" in words:
        json.loads(said.out)
