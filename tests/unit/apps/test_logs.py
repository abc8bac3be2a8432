"""The supervisor's log: two forms, and a sink that never blocks."""

import contextlib
import io
import json
import os
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.waiting import wait_until

from cloister.apps.logs import Level, LogEvent, LogFormat, Sink, as_json, harmless, plain

NOON = 1_795_262_400.25


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_a_plain_line() -> None:
    event = LogEvent("blog", "ready", fields={"pid": 7}, time=NOON)
    assert plain(event, width=8) == "12:00:00 blog     | ready\n"


def test_a_plain_error_with_details() -> None:
    event = LogEvent("blog", "ended", Level.ERROR, ("Traceback", "  x"), time=NOON)
    assert plain(event) == (
        "12:00:00 blog | error: ended\n12:00:00 blog |     Traceback\n12:00:00 blog |       x\n"
    )


def test_a_json_line() -> None:
    event = LogEvent("blog", "ready", fields={"pid": 7, "source": "forged"}, time=NOON)
    assert json.loads(as_json(event)) == {
        "time": "2026-11-21T12:00:00.250Z",
        "level": "info",
        "source": "blog",
        "message": "ready",
        "pid": 7,
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\rcloister | forged", "a\\x0dcloister | forged"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("del \x7f", "del \\x7f"),
        ("right-to-left \u202e", "right-to-left \\u202e"),
        ("tab\tand ünïcode 猫", "tab\tand ünïcode 猫"),
    ],
)
def test_nothing_in_a_plain_line_steers_a_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


@given(st.text())
def test_an_event_of_any_text_is_one_line_in_either_form(text: str) -> None:
    event = LogEvent("x", text, details=(text,))
    assert as_json(event).count("\n") == 1
    assert as_json(event).isascii()
    assert len(plain(event).splitlines()) == 2
    assert "\x1b" not in plain(event)


def collected(sink_use: Callable[[Sink], None], log_format: LogFormat) -> str:
    stream = io.StringIO()
    sink = Sink(stream, log_format)
    sink_use(sink)
    sink.close()
    return stream.getvalue()


def test_auto_is_json_where_no_terminal_is() -> None:
    assert collected(lambda sink: sink.emit(LogEvent("a", "b")), LogFormat.AUTO).startswith("{")


def test_plain_on_demand() -> None:
    assert collected(lambda sink: sink.emit(LogEvent("a", "b")), LogFormat.PLAIN).endswith(
        "a | b\n"
    )


class BlockingStream(io.StringIO):
    """A terminal at rest."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = threading.Event()

    def write(self, text: str) -> int:
        self.may_write.wait(10)
        return super().write(text)


def test_a_blocked_stream_blocks_nobody_and_what_is_lost_is_counted() -> None:
    stream = BlockingStream()
    sink = Sink(stream, LogFormat.JSON, capacity=1000)
    for number in range(100):
        sink.emit(LogEvent("a", str(number)))
    stream.may_write.set()
    sink.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (report,) = [line for line in lines if "lost" in line]
    assert report["lost"] + len(lines) - 1 == 100
    assert report["lost"] >= 94


def test_a_reader_that_went_away_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    sink = Sink(stream, LogFormat.JSON)
    for _ in range(10):
        sink.emit(LogEvent("a", "b" * 10_000))
    sink.close()
    assert not sink._shown._thread.is_alive()
    with contextlib.suppress(BrokenPipeError):
        stream.close()


class ListKeeper:
    """Keeps events in memory, if it may."""

    def __init__(self, *, alone: bool = False) -> None:
        self.alone = alone
        self.kept: list[LogEvent] = []
        self.may_write = threading.Event()
        self.may_write.set()
        self.broken = False
        self.closed = False

    def keep(self, event: LogEvent) -> None:
        self.may_write.wait(10)
        if self.broken:
            raise OSError("no space left")
        self.kept.append(event)

    def close(self) -> None:
        self.closed = True


def test_the_events_of_a_source_are_kept_as_well() -> None:
    stream = io.StringIO()
    sink = Sink(stream, LogFormat.JSON)
    keeper, alone = ListKeeper(), ListKeeper(alone=True)
    sink.keep("one", keeper)
    sink.keep("two", alone)
    for source in ("one", "two", "three"):
        sink.emit(LogEvent(source, "text"))
    sink.close()
    assert [event.source for event in (*keeper.kept, *alone.kept)] == ["one", "two"]
    assert [json.loads(line)["source"] for line in stream.getvalue().splitlines()] == [
        "one",
        "three",
    ]
    assert keeper.closed
    assert alone.closed


def test_one_source_s_flood_loses_no_line_of_another() -> None:
    sink = Sink(io.StringIO(), LogFormat.JSON, capacity=2000)
    flooded, quiet = ListKeeper(), ListKeeper()
    flooded.may_write.clear()
    sink.keep("flooded", flooded)
    sink.keep("quiet", quiet)
    for _ in range(10_000):
        sink.emit(LogEvent("flooded", "line"))
    sink.emit(LogEvent("quiet", "line"))
    flooded.may_write.set()
    sink.close()
    assert [event.message for event in quiet.kept] == ["line"]
    (report,) = [event for event in flooded.kept if "lost" in event.fields]
    assert report.source == "flooded"
    assert len(flooded.kept) - 1 + int(str(report.fields["lost"])) == 10_000
    assert len(flooded.kept) < 20


def test_a_keeper_that_blocks_does_not_silence_the_stream() -> None:
    stream = io.StringIO()
    sink = Sink(stream, LogFormat.JSON)
    keeper = ListKeeper()
    keeper.may_write.clear()
    sink.keep("one", keeper)
    sink.emit(LogEvent("one", "text"))
    wait_until(lambda: "text" in stream.getvalue(), what="the line on the stream")
    assert not keeper.kept
    keeper.may_write.set()
    sink.close()
    assert len(keeper.kept) == 1


def test_what_a_keeper_cannot_keep_is_counted() -> None:
    sink = Sink(io.StringIO(), LogFormat.JSON)
    keeper = ListKeeper()
    keeper.broken = True
    sink.keep("one", keeper)
    for _ in range(3):
        sink.emit(LogEvent("one", "text"))
    wait_until(lambda: sink._kept._lost.get("one") == 3, what="three lost lines")
    keeper.broken = False
    sink.emit(LogEvent("one", "text"))
    sink.close()
    assert [event.fields.get("lost") for event in keeper.kept] == [None, 3]


def test_a_source_may_get_another_keeper() -> None:
    sink = Sink(io.StringIO(), LogFormat.JSON)
    first, second = ListKeeper(), ListKeeper()
    sink.keep("one", first)
    sink.keep("one", second)
    sink.emit(LogEvent("one", "text"))
    sink.keep("one", None)
    sink.emit(LogEvent("one", "shown only"))
    sink.close()
    assert (first.closed, second.closed) == (True, True)
    assert first.kept == []
