"""Every command explains itself: help with examples that parse, a manual page, completion."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.support import packages
from tests.support.examples import calls

from cloister.cli import manual
from cloister.cli.main import cloister, main

ENTRIES = list(manual.every(cloister, "cloister"))
LEAVES = [entry for entry in ENTRIES if not isinstance(entry.command, click.Group)]
WITH_EXAMPLES = [entry for entry in ENTRIES if manual.examples(entry.command)]


def by_path(entry: manual.Entry) -> str:
    return " ".join(entry.path)


@pytest.mark.parametrize("entry", LEAVES, ids=by_path)
def test_every_command_has_an_example(entry: manual.Entry) -> None:
    lines = manual.examples(entry.command)
    assert any(by_path(entry) in line for line in lines), "its help shows no use of it"


@pytest.mark.parametrize("entry", WITH_EXAMPLES, ids=by_path)
def test_every_example_is_a_command_line(entry: manual.Entry) -> None:
    for words in calls(manual.examples(entry.command)):
        parse(words)


@pytest.mark.parametrize(
    "words", [["hosts", "chek"], ["hosts", "check", "--alpm", "x"], ["generate", "nginx"]]
)
def test_the_check_of_examples_finds_what_is_wrong(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(words)


def parse(words: list[str]) -> None:
    """Has click read a command line to its last word, and calls nothing."""
    command: click.Command = cloister
    context: click.Context | None = None
    name = "cloister"
    while True:
        context = command.make_context(name, list(words), parent=context)
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]
        found, child, words = command.resolve_command(context, rest)
        assert child is not None
        assert found is not None
        name, command = found, child


SILENT = {"init", "up", "set", "edit", "web", "run", "hosts add"}
"""What does something and reports nothing; generators beside, whose files are the result."""


def test_reports_come_as_json_too() -> None:
    having = {
        " ".join(entry.path[1:])
        for entry in LEAVES
        if any("--json" in option.opts for option in entry.command.params)
    }
    all_of_them = {" ".join(entry.path[1:]) for entry in LEAVES}
    generators = {name for name in all_of_them if name.startswith("generate ")}
    assert having == all_of_them - SILENT - generators


def test_every_manual_page_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages.need("groff")
    assert main(["generate", "man", "--output", str(tmp_path)]) == 0
    capsys.readouterr()
    pages = sorted((tmp_path / "usr/share/man/man1").iterdir())
    assert [page.name for page in pages] == sorted(f"{entry.page}.1" for entry in ENTRIES)
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-cbou"]
    done = subprocess.run([*command, *pages], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    text = " ".join(done.stdout.split())
    assert "cloister hosts check www.example.org" in text
    assert "🕸" in text
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS"):
        assert heading in text


def test_a_page_shows_what_troff_would_obey() -> None:
    @click.command(epilog="")
    def command() -> None:
        r"""Say it.

        .so /etc/passwd
        'and \n stays, as does `this` and "that".
        """

    entry = next(manual.every(command, "say"))
    text = manual.page(entry, "1")
    assert "\n\\&.so /etc/passwd\n" in text
    assert "\\(aqand \\en stays, as does \\(gathis\\(ga" in text


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["cloister", "ho"], ["hostname", "hosts"]),
        (["cloister", "generate", "n"], ["nginx", "nixos"]),
        (["cloister", "hosts", "check", "--al"], ["--alpn"]),
    ],
)
def test_bash_completes(
    typed: list[str], offered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "completion", "--output", str(tmp_path)]) == 0
    capsys.readouterr()
    script = tmp_path / "usr/share/bash-completion/completions/cloister"
    program = Path(sys.executable).with_name("cloister")
    words = " ".join(map(shlex.quote, typed))
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1};"
            f" _cloister_completion {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert sorted(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shells_script_asks_this_program(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "completion", shell]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"_CLOISTER_COMPLETE={shell}_complete", printed)
    assert printed.count("# --- ") == 1
