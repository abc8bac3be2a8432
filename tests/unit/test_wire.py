"""Strict decoding: every refusal names its place."""

import pytest

from cloister import wire
from cloister.cells import spec
from cloister.door import messages
from cloister.model.errors import DoorError

SPEC = spec.Failure("execute", "run it", 2, None, None)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"type":"apply","id":1,"snapshot":true}', "snapshot: expected an integer"),
        ('{"type":"apply","id":1,"snapshot":1.0}', "snapshot: expected an integer"),
        ('{"type":"apply","id":-1,"snapshot":1}', "id: expected an integer from 0 to 18446744"),
        ('{"type":"apply","id":18446744073709551616,"snapshot":1}', "id: expected an integer"),
        ('{"type":"apply","id":1}', "the field 'snapshot' is missing"),
        ('{"type":"apply","id":1,"snapshot":1,"x":1}', "unknown field 'x'"),
        ('{"id":1,"snapshot":1}', "the field 'type' is missing"),
        ('{"type":["apply"],"id":1}', "type: expected"),
        ('{"type":"apply","id":null,"snapshot":1}', "found null"),
        ("[]", "expected an object, found an array"),
    ],
)
def test_refusals_say_where_and_what(text: str, what: str) -> None:
    with pytest.raises(wire.WireError, match=what):
        wire.decode(messages.Request, text.encode())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"type":"stats","id":1,"id":2}', "'id' stands twice"),
        (b'{"type":"stats","id":NaN}', "NaN is no JSON number"),
        (b'{"type":"stats","id":1} x', "Extra data"),
        (b'{"type":"stats"', "Expecting"),
        (b"", "Expecting value"),
        (b'"\xff"', "utf-8"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_json_says_why(data: bytes, why: str) -> None:
    with pytest.raises(wire.WireError, match="no JSON") as caught:
        wire.decode(messages.Request, data)
    assert why in str(caught.value.why)


def test_places_are_named_down_to_the_index() -> None:
    text = (
        '{"generation":1,"workers":1,"log_connections":false,"hosts":[],"listeners":['
        '{"name":"a","address":"b","descriptor":0,"keepalive":null,'
        '"accept_proxy":[],"limits":{"connections":1,'
        '"connections_per_client":0,"connections_per_host":0,"idle_timeout_ms":0,'
        '"hello_timeout_ms":1,"connect_timeout_ms":1},"route":{"kind":"target",'
        '"target":{"kind":"unix-path","path":7},"send_proxy":"v1",'
        '"balance":"round-robin"}}]}'
    )
    with pytest.raises(DoorError, match="cannot be read") as caught:
        messages.decode(messages.Snapshot, text.encode())
    assert "listeners[0].route.target.path: expected a string, found 7" in str(caught.value.why)


def test_enums_and_booleans_are_strict() -> None:
    with pytest.raises(wire.WireError, match='expected "none" or "v1" or "v2"'):
        wire.decoder(messages.SendProxy)("V1", "send_proxy")
    with pytest.raises(wire.WireError, match="expected true or false, found 1"):
        wire.decoder(bool)(1, "active")


def test_half_a_surrogate_pair_is_refused() -> None:
    text = b'{"step":"x","description":"\\ud83d","errno":0,"path":null,"hint":null}'
    with pytest.raises(wire.WireError, match="description: the text is not Unicode"):
        wire.decode(spec.Failure, text)
    whole = text.replace(b"\\ud83d", b"\\ud83d\\ude00")
    assert wire.decode(spec.Failure, whole).description == "\U0001f600"


def test_encoding_is_compact_and_keeps_unicode() -> None:
    assert wire.encode(SPEC) == (
        b'{"step":"execute","description":"run it","errno":2,"path":null,"hint":null}'
    )
    assert "ü".encode() in wire.encode(spec.Link("/ü", "x"))


def test_a_path_that_is_no_utf8_cannot_be_said() -> None:
    with pytest.raises(wire.WireError, match="not Unicode"):
        wire.encode(spec.Link("/\udcff", "x"))
