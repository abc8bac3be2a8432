"""Examples of generators work as they are printed: nothing but the root of the files differs."""

from pathlib import Path

import click
import pytest
from tests.support.examples import calls

from cloister.cli import manual
from cloister.cli.main import cloister, main

TEXT = """
[listeners.web]
listen = "unix:/run/web/web.sock"
socket = { group = "0" }
[listeners.https]
listen = ["127.0.0.1:0", "unix:/run/web/https.sock"]
socket = { group = "0" }
"""
CONFIG = "/etc/cloister/cloister.toml"
EXAMPLES = [
    words
    for entry in manual.every(cloister, "cloister")
    for words in calls(manual.examples(entry.command))
    if words[0] == "generate"
]


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_an_example_of_a_generator_works(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "cloister.toml"
    config.write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    given = [word.replace(CONFIG, str(config)) for word in words]
    if "--output" in given:
        place = given.index("--output") + 1
        given[place] = f"{root}{given[place]}"
    # The programs of a build in a checkout may lie where a service would not see them.
    if any("--program" in option.opts for option in leaf(given).params):
        given += ["--program", f"/usr/bin/{'cloister' if 'up' in given else 'cloister-door'}"]
    assert main(given) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert printed or list(root.rglob("*"))


def leaf(words: list[str]) -> click.Command:
    command: click.Command = cloister
    context = click.Context(command)
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(context, word)
        assert found is not None
        command = found
    return command
