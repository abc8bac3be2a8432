"""Connection records in the log."""

import asyncio
import json

import pytest

from cloister.apps.door_generation import _pump, connection_event
from cloister.apps.lines import Line
from cloister.apps.logs import LogEvent, as_json
from cloister.door.messages import ConnectionRecord, Outcome, encode

RECORD = ConnectionRecord(
    time_us=1_795_262_400_000_000,
    listener="https",
    client="192.0.2.1:4711",
    name="one.example",
    alpn=("h2", "http/1.1"),
    app="one",
    target="unix:/run/cloister/apps/one/socket",
    bytes_to_target=517,
    bytes_to_client=1500,
    duration_us=12_345,
    outcome=Outcome.COMPLETE,
    reason=None,
)


def test_a_connection_for_people_and_for_programs() -> None:
    event = connection_event(encode(RECORD).decode())
    assert event.message == (
        "192.0.2.1:4711 one.example -> one: complete, 517 B in, 1500 B out, 12.3 ms"
    )
    value = json.loads(as_json(event))
    assert (value["source"], value["event"]) == ("door", "connection")
    for name, expected in json.loads(encode(RECORD)).items():
        assert value[name] == expected


def test_a_refused_connection_says_why() -> None:
    text = json.dumps(
        {
            **json.loads(encode(RECORD)),
            "name": None,
            "app": None,
            "target": None,
            "outcome": "refused-hello",
            "reason": "no handshake record",
        }
    )
    assert connection_event(text).message == (
        "192.0.2.1:4711 - -> -: refused-hello, 517 B in, 1500 B out, 12.3 ms (no handshake record)"
    )


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "7", '{"name": 1}', '{"outcome"'])
def test_what_is_no_record_is_logged_as_it_is(text: str) -> None:
    assert connection_event(text) == LogEvent(
        "door", text, fields={"event": "output"}, time=pytest.approx(0, abs=1e12)
    )


def test_a_stream_is_read_to_its_end_line_by_line() -> None:
    async def scenario() -> list[Line]:
        lines: list[Line] = []
        reader = asyncio.StreamReader(limit=10)
        pumping = asyncio.create_task(_pump(reader, lines.append))
        reader.feed_data(b"one\n" + b"x" * 100)
        await asyncio.sleep(0)
        reader.feed_data(b"\nlast")
        reader.feed_eof()
        await asyncio.wait_for(pumping, 5)
        return lines

    assert asyncio.run(scenario()) == [Line("one"), Line("x" * 100), Line("last")]
