"""What ``run`` says of a command's ways out; the rest needs cells (tests/e2e)."""

import pytest

from cloister.apps.logs import Level, LogEvent
from cloister.cli.ways_out import Complaints

FAILED = LogEvent(
    "egress-door run",
    "all of it",
    fields={
        "listener": "db:1",
        "target": "tcp:db:1",
        "outcome": "target-unreachable",
        "reason": "refused\x1b",
    },
)
COMPLETE = LogEvent("egress-door run", "fine", fields={"outcome": "complete"})


def test_only_what_went_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Complaints()
    for event in (COMPLETE, FAILED, LogEvent("door", "hm", Level.WARNING), LogEvent("door", "so")):
        sink.emit(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "cloister: nothing came of a connection to db:1 (tcp:db:1): refused\\x1b",
        "cloister: hm",
    ]


def test_the_newest_wait_for_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Complaints()
    sink.hold()
    for number in range(100):
        sink.emit(LogEvent("door", str(number), Level.ERROR))
    assert capsys.readouterr().err == ""
    sink.release()
    sink.release()
    assert capsys.readouterr().err.split() == [
        word for number in range(80, 100) for word in ("cloister:", str(number))
    ]
    sink.emit(LogEvent("door", "now", Level.ERROR))
    assert capsys.readouterr().err == "cloister: now\n"
