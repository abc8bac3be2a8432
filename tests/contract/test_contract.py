"""The Python side of the messages in this folder."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from cloister import wire
from cloister.apps import holder
from cloister.cells import spec
from cloister.cells.quotas import messages as disk
from cloister.door import messages

FOLDER = Path(__file__).parent
KINDS: dict[str, Any] = {
    "door/request": messages.Request,
    "door/reply": messages.Reply,
    "door/snapshot": messages.Snapshot,
    "door/record": messages.ConnectionRecord,
    "cell/spec": spec.Spec,
    "cell/effect": spec.Effect,
    "cell/failure": spec.Failure,
    "cell/operation": spec.Operation,
    "disk/order": disk.DiskOrder,
    "disk/answer": disk.Answer,
    "holder/order": holder.Order,
    "holder/answer": holder.Answer,
}
FILES = sorted(FOLDER.glob("*/*.json"))
MAPS = {"outcomes"}
"""Objects whose keys are data."""


def kind_of(file: Path) -> Any:
    return KINDS[f"{file.parent.name}/{file.name.split('.')[0]}"]


def name_of(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def classes(module: types.ModuleType) -> set[type]:
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and (dataclasses.is_dataclass(value) or issubclass(value, Enum))
    }


def parts(value: object) -> Iterator[object]:
    """The value and all dataclasses and enum members in it."""
    if isinstance(value, Enum):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)
    elif dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name))


def objects(value: object, key: str = "") -> Iterator[dict[str, object]]:
    """Every JSON object in ``value`` whose keys are fields."""
    if isinstance(value, dict):
        if key not in MAPS:
            yield value
        for name, inner in value.items():
            yield from objects(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def refuses(kind: Any, value: object) -> bool:
    try:
        wire.decode(kind, json.dumps(value).encode())
    except wire.WireError:
        return True
    return False


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_golden_messages_come_back_as_they_were(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    message = wire.decode(kind_of(file), text.encode())
    assert json.loads(wire.encode(message)) == json.loads(text)
    assert wire.decode(kind_of(file), wire.encode(message)) == message


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_object_refuses_one_field_more_and_one_less(file: Path) -> None:
    kind = kind_of(file)
    value = json.loads(file.read_text(encoding="utf-8"))
    for place in objects(value):
        place["surplus"] = 1
        assert refuses(kind, value)
        del place["surplus"]
        for name, kept in list(place.items()):
            del place[name]
            assert refuses(kind, value), name
            place[name] = kept
    assert not refuses(kind, value)


@pytest.mark.parametrize("module", [messages, spec, disk], ids=["door", "cell", "disk"])
def test_every_class_and_every_variant_has_a_golden_message(module: types.ModuleType) -> None:
    seen: list[object] = []
    for file in FILES:
        seen += parts(wire.decode(kind_of(file), file.read_bytes()))
    assert {type(part) for part in seen} >= classes(module)
    for enum in (value for value in classes(module) if issubclass(value, Enum)):
        assert {part for part in seen if isinstance(part, enum)} == set(enum)


@pytest.mark.parametrize(
    ("decode", "union"),
    [(messages.decode_request, messages.Request), (messages.decode_reply, messages.Reply)],
)
def test_the_unions_are_complete(decode: Callable[[bytes], object], union: Any) -> None:
    tagged = {
        value
        for value in classes(messages)
        if getattr(value, "TAG", wire.Tag("", "")).key == "type"
    }
    assert set(typing.get_args(union)) < tagged
    assert set(typing.get_args(messages.Request)) | set(typing.get_args(messages.Reply)) == tagged
    with pytest.raises(messages.DoorError, match="cannot be read") as caught:
        decode(b'{"type":"none-such"}')
    for name in wire.variants(union):
        assert f'"{name}"' in str(caught.value.why)


def test_the_statistics_name_only_known_outcomes() -> None:
    reply = messages.decode_reply((FOLDER / "door" / "reply.stats.json").read_bytes())
    assert isinstance(reply, messages.StatsReply)
    assert isinstance(reply.stats.outcomes, Mapping)
    assert set(reply.stats.outcomes) <= {outcome.value for outcome in messages.Outcome}
