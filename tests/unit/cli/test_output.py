"""Errors, tables and JSON: plain when piped, in colour on a terminal."""

import io
import json

import pytest

from cloister.cli import output
from cloister.model.errors import CloisterError, ConfigError, Location, Problem
from cloister.model.isolation import IdRange
from cloister.model.route import SendProxy


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ERROR = ConfigError(
    [
        Problem("unknown-key", "`a` is no setting", Location("f.toml", 3, "door.a"), "so", "do"),
        Problem("syntax", "no table", Location("f.toml", None, "")),
    ]
)


def test_a_configuration_error_prints_a_block_for_each_problem() -> None:
    stream = io.StringIO()
    output.print_error(ERROR, stream)
    assert stream.getvalue() == (
        "error[unknown-key]: `a` is no setting\n"
        "  where f.toml:3 door.a\n"
        "  why   so\n"
        "  next  do\n"
        "\n"
        "error[syntax]: no table\n"
        "  where f.toml\n"
        "\n"
        "error: 2 problems in the configuration\n"
    )


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    output.print_error(CloisterError("x", hint="y"), stream)
    assert "\x1b[" in stream.getvalue()
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            stream = Terminal()
            output.print_error(CloisterError("x", hint="y"), stream)
            assert stream.getvalue() == "error: x\n  next  y\n"


def test_long_reasons_are_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    output.print_error(CloisterError("x", why="word " * 20), stream)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 3
    assert all(line.startswith("        word") for line in lines[2:])


def test_control_characters_do_not_reach_the_terminal() -> None:
    stream = io.StringIO()
    output.print_error(CloisterError("\x1b[2Jevil\nnext  forged"), stream)
    assert stream.getvalue() == "error: \\x1b[2Jevil\\nnext  forged\n"


def test_a_piped_table_is_aligned_and_bare(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["APP", "PID"], [["blog", 12], ["long-name", None]])
    assert capsys.readouterr().out == "APP        PID\nblog       12\nlong-name  -\n"


def test_a_table_on_a_terminal_shows_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    output.print_table(["APP"], [["[bold]blog"]])
    assert "[bold]blog" in stream.getvalue()


def test_json_takes_frozen_values(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"ids": IdRange(1000, 1001), "header": SendProxy.V1, "hosts": {"b", "a"}})
    assert json.loads(capsys.readouterr().out) == {
        "ids": {"first": 1000, "last": 1001},
        "header": "v1",
        "hosts": ["a", "b"],
    }
