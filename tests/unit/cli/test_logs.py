"""``cloister logs``: what was kept, for people and for programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloister.apps.log_files import LogFiles, LogReader
from cloister.apps.logs import Level, LogEvent
from cloister.cli.main import main

NOON = 1_795_262_400.25


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = tmp_path / "cloister.toml"
    config.write_text(
        f'[cloister]\nstate-directory = "{tmp_path}/state"\n'
        f'[listeners.a]\nlisten = "127.0.0.1:0"\n'
        '[apps.blog]\ncommand = ["/bin/true"]\nhosts = ["blog.example"]\nlog = { to = "files" }\n'
        '[apps.quiet]\ncommand = ["/bin/true"]\nhosts = ["q.example"]\nlog = { to = "none" }\n'
    )
    return config


def keep(config: Path, *events: LogEvent) -> Path:
    path = config.parent / "state" / "log" / "blog.log"
    kept = LogFiles(str(path), size=10_000, files=2)
    for event in events:
        kept.keep(event)
    kept.close()
    return path


def output(text: str) -> LogEvent:
    return LogEvent("blog", text, fields={"event": "output", "stream": "stdout"}, time=NOON)


def test_for_people(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = LogEvent("blog", "ended by itself", Level.ERROR, ("Traceback",), time=NOON)
    keep(config, output("one"), output("\x1b[2Jtwo"), error)
    assert main(["logs", "blog", str(config), "-n", "3"]) == 0
    assert capsys.readouterr().out == (
        "2026-11-21 12:00:00 stdout   | one\n"
        "2026-11-21 12:00:00 stdout   | \\x1b[2Jtwo\n"
        "2026-11-21 12:00:00 cloister | error: ended by itself\n"
        "2026-11-21 12:00:00 cloister |     Traceback\n"
    )


def test_for_programs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(config, *(output(str(number)) for number in range(10)))
    assert main(["logs", "blog", str(config), "-n", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["message"], line["stream"]) for line in lines] == [
        ("8", "stdout"),
        ("9", "stdout"),
    ]


def test_what_somebody_else_wrote_steers_no_terminal(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep(config, output("one"))
    with path.open("a") as file:
        file.write('\x1b[31mforged\n{"time": 7}\n[]\n')
    assert main(["logs", "blog", str(config)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "\\x1b[31mforged",
        '{"time": 7}',
        "[]",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["blog"], 1, "nothing was kept yet"),
        (["quiet"], 1, "the output of quiet is not kept"),
        (["nobody"], 2, "there is no application 'nobody'"),
    ],
)
def test_what_cannot_be_shown(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert main(["logs", *arguments, str(config)]) == code
    assert said in capsys.readouterr().err


def test_following(config: Path) -> None:
    keep(config, output("before"))
    with subprocess.Popen(
        [sys.executable, "-m", "cloister", "logs", "blog", str(config), "-f", "-n", "1"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("| before\n")
        for number in range(100):
            keep(config, output(f"after {number}"))
        last = ""
        while not last.endswith("after 99\n"):
            last = process.stdout.readline()
            assert last
        process.terminate()


def test_who_may_not_read_them_is_told_so(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the kernel's refusal is made up; the modes that cause it
    are tested with the files."""
    keep(config, output("secret"))

    def refuse(_self: LogReader, path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(LogReader, "__init__", refuse)
    assert main(["logs", "blog", str(config)]) == 4
    assert "the log of blog may not be read" in capsys.readouterr().err
