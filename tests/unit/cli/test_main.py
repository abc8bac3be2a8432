"""The entry point: verbs, exit codes, and what it does not import."""

import os
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from cloister.cli import main as entry
from cloister.cli.main import EXIT_CODES, cloister, main
from cloister.model.errors import (
    CellError,
    CloisterError,
    ConfigError,
    DaemonUnreachableError,
    DoorError,
    HostnameError,
    Location,
    NotPermittedError,
    Problem,
    UsageError,
)

HEAVY = {"pydantic", "pydantic_core", "uvicorn", "starlette", "cryptography", "rich", "httpx"}

RunVerb = Callable[[BaseException | int | None], int]


@pytest.fixture
def run_verb(monkeypatch: pytest.MonkeyPatch) -> RunVerb:
    """Runs `cloister status` with a command that raises or returns what it is given."""

    def run(outcome: BaseException | int | None) -> int:
        @click.command()
        def command() -> int | None:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(type(cloister), "get_command", lambda self, ctx, name: command)
        return main(["status"])

    return run


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (None, 0),
        (7, 7),
        (CloisterError("x"), 1),
        (DoorError("x"), 1),
        (HostnameError("x"), 1),
        (CellError("x", step="execute", errno=2), 1),
        (UsageError("x"), 2),
        (ConfigError([Problem("syntax", "x", Location("f", 1, ""))]), 3),
        (NotPermittedError("x"), 4),
        (PermissionError(13, "Permission denied", "/etc/shadow"), 4),
        (OSError(28, "No space left on device"), 1),
        (DaemonUnreachableError("x"), 69),
        (KeyboardInterrupt(), 130),
        (click.UsageError("x"), 2),
        (ExceptionGroup("tasks", [CloisterError("x"), ExceptionGroup("", [UsageError("y")])]), 2),
    ],
)
def test_exit_codes(run_verb: RunVerb, outcome: BaseException | int | None, code: int) -> None:
    assert run_verb(outcome) == code


def test_a_fault_of_our_own_keeps_its_traceback(run_verb: RunVerb) -> None:
    with pytest.raises(ZeroDivisionError):
        run_verb(ZeroDivisionError())
    with pytest.raises(ExceptionGroup):
        run_verb(ExceptionGroup("tasks", [CloisterError("x"), ValueError("y")]))


def test_the_table_of_exit_codes_covers_the_documented_ones() -> None:
    assert sorted({0, 1, *EXIT_CODES.values()}) == [0, 1, 2, 3, 4, 69]


def test_a_mistyped_verb_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stauts"]) == 2
    message = capsys.readouterr().err
    assert message == (
        "error: there is no command `stauts`\n  next  did you mean `cloister status`?\n"
    )


def test_an_unknown_option_names_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bogus"]) == 2
    assert "next  see `cloister --help`" in capsys.readouterr().err


def test_no_verb_shows_the_help_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for verb, line in entry.VERBS.items():
        assert f"  {verb} " in printed
        assert line.split(",")[0] in printed


def test_help_imports_nothing_that_loads_slowly() -> None:
    """`cloister --help` has 150 ms; the modules are counted instead of the time."""
    program = (
        "import sys; from cloister.cli.main import main; code = main(['--help']);"
        "print(*sys.modules, sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "cloister" in loaded
    assert not loaded & (HEAVY | {"asyncio", "email", "idna"})


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cloister", "--version"], capture_output=True, text=True, check=True
    )
    name, version = done.stdout.split()
    assert name == "cloister"
    assert version[0].isdigit()


def test_a_reader_that_went_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cloister", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.parametrize("verb", entry.VERBS)
def test_every_verb_has_a_command_with_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: cloister {verb}")
