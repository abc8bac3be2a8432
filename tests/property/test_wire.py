"""Whatever comes: a value that is written back as it came, or a WireError. Nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister import wire
from cloister.cells import spec
from cloister.door import messages

KINDS: list[Any] = [
    messages.Request,
    messages.Reply,
    messages.Snapshot,
    messages.ConnectionRecord,
    spec.Spec,
    spec.Failure,
]
GOLDENS = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[1] / "contract").glob("*/*.json"))
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def decode(kind: Any, data: bytes) -> None:
    try:
        value = wire.decode(kind, data)
    except wire.WireError:
        return
    assert json.loads(wire.encode(value)) == json.loads(data)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_anything(kind: Any, data: bytes) -> None:
    decode(kind, data)


@given(data=st.data())
def test_golden_messages_with_one_place_changed(data: st.DataObject) -> None:
    value = json.loads(json.dumps(data.draw(st.sampled_from(GOLDENS))))
    place, key = value, None
    while isinstance(place, dict | list) and place:
        outer = place
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
        )
        place = outer[key]
        if data.draw(st.booleans()):
            break
    outer[key] = data.draw(VALUES)
    for kind in KINDS:
        decode(kind, json.dumps(value).encode())
