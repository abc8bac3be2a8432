"""JSON to and from frozen dataclasses, strictly.

The two programs speak the schema of ``crates/proto/src/messages``; serde writes it there
and this module here. What it takes is what serde takes with ``deny_unknown_fields``: a
dataclass is an object with exactly its fields, a tagged class carries its tag as one more
field, an enum is its value, a tuple is an array. A boolean is no integer, a fraction
neither, and every integer has the bounds of its Rust type.

No I/O. Decoders are built once for each type.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from cloister.model.errors import CloisterError


class WireError(CloisterError):
    """A message that does not fit its type. ``what`` names the place inside the message."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The smallest and the largest value of an integer type."""

    first: int
    last: int


U8 = Annotated[int, Bounds(0, 2**8 - 1)]
U16 = Annotated[int, Bounds(0, 2**16 - 1)]
U32 = Annotated[int, Bounds(0, 2**32 - 1)]
U64 = Annotated[int, Bounds(0, 2**64 - 1)]
I32 = Annotated[int, Bounds(-(2**31), 2**31 - 1)]
I64 = Annotated[int, Bounds(-(2**63), 2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Tag:
    """Marks one class of a union: the extra field that tells it from the others.

    A class states it as ``TAG: ClassVar[Tag]``.
    """

    key: str
    value: str


Decoder = Callable[[object, str], Any]


def encode(message: object) -> bytes:
    """The message as compact JSON in UTF-8.

    Raises :class:`WireError` for text that is not Unicode, such as a path whose bytes are
    no UTF-8: the programs could not read it.
    """
    text = json.dumps(_plain(message), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise WireError(
            "a text in the message is not Unicode",
            why=f"{text[max(0, error.start - 40) : error.end]!r} holds a byte that is no UTF-8",
            hint="use paths and values that are valid UTF-8",
        ) from error


def decode(kind: Any, data: bytes) -> Any:
    """The value of type ``kind``, a dataclass or a union of tagged ones, in ``data``.

    Raises :class:`WireError` that says where in the message and what was expected there.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise WireError("the message is no JSON", why=str(error)) from error
    return decoder(kind)(value, "")


def variants(union: Any) -> dict[str, type]:
    """The classes of a union of tagged dataclasses by their tags' values."""
    return {member.TAG.value: member for member in get_args(union)}


@cache
def decoder(kind: Any) -> Decoder:
    """The function that turns a parsed JSON value into a ``kind``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _integer(arguments[1])
    if origin in (UnionType, Union):
        if NoneType in arguments:
            (inner,) = (argument for argument in arguments if argument is not NoneType)
            return _optional(decoder(inner))
        return _union(variants(kind))
    if origin is tuple:
        return _array(decoder(arguments[0]))
    if origin is Mapping:
        return _mapping(decoder(arguments[1]))
    if kind is str:
        return _string
    if kind is bool:
        return _boolean
    if issubclass(kind, Enum):
        return _enum(kind)
    return _struct(kind)


def _plain(value: object) -> object:
    if type(value) is str:  # most are: the system calls of a cell alone are hundreds
        return value
    if is_dataclass(value):
        tag: Tag | None = getattr(value, "TAG", None)
        plain: dict[str, object] = {} if tag is None else {tag.key: tag.value}
        plain.update((field.name, _plain(getattr(value, field.name))) for field in fields(value))
        return plain
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} stands twice")
    return result


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _refuse(where: str, expected: str, value: object) -> WireError:
    place = where or "the message"
    if value is None:
        found = "null"
    elif isinstance(value, dict):
        found = "an object"
    elif isinstance(value, list):
        found = "an array"
    else:
        found = json.dumps(value)[:80]
    return WireError(f"{place}: expected {expected}, found {found}")


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _integer(bounds: Bounds) -> Decoder:
    def decode_integer(value: object, where: str) -> int:
        if type(value) is not int or not bounds.first <= value <= bounds.last:
            raise _refuse(where, f"an integer from {bounds.first} to {bounds.last}", value)
        return value

    return decode_integer


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _refuse(where, "a string", value)
    if not value.isascii():
        # JSON can spell half a surrogate pair, which nothing can print; serde refuses it.
        try:
            value.encode()
        except UnicodeEncodeError:
            raise WireError(f"{where or 'the message'}: the text is not Unicode") from None
    return value


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _refuse(where, "true or false", value)
    return value


def _optional(inner: Decoder) -> Decoder:
    def decode_optional(value: object, where: str) -> object:
        return None if value is None else inner(value, where)

    return decode_optional


def _array(item: Decoder) -> Decoder:
    def decode_array(value: object, where: str) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise _refuse(where, "an array", value)
        return tuple(item(entry, f"{where}[{index}]") for index, entry in enumerate(value))

    return decode_array


def _mapping(item: Decoder) -> Decoder:
    def decode_mapping(value: object, where: str) -> dict[str, object]:
        if not isinstance(value, dict):
            raise _refuse(where, "an object", value)
        return {key: item(entry, _below(where, key)) for key, entry in value.items()}

    return decode_mapping


def _enum(kind: type[Enum]) -> Decoder:
    members = {member.value: member for member in kind}
    expected = " or ".join(json.dumps(name) for name in members)

    def decode_enum(value: object, where: str) -> Enum:
        member = members.get(value) if isinstance(value, str) else None
        if member is None:
            raise _refuse(where, expected, value)
        return member

    return decode_enum


def _union(members: dict[str, type]) -> Decoder:
    (key,) = {member.TAG.key for member in members.values()}  # type: ignore[attr-defined]
    decoders = {name: _struct(member) for name, member in members.items()}
    expected = " or ".join(json.dumps(name) for name in members)

    def decode_union(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise _refuse(where, "an object", value)
        if key not in value:
            raise WireError(f"{where or 'the message'}: the field {key!r} is missing")
        name = value[key]
        chosen = decoders.get(name) if isinstance(name, str) else None
        if chosen is None:
            raise _refuse(_below(where, key), expected, name)
        return chosen(value, where)

    return decode_union


def _struct(kind: type) -> Decoder:
    hints = get_type_hints(kind, include_extras=True)
    tag: Tag | None = getattr(kind, "TAG", None)
    names = [field.name for field in fields(kind)]
    decoders = [(name, decoder(hints[name])) for name in names]
    allowed = frozenset(names if tag is None else [*names, tag.key])

    def decode_struct(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise _refuse(where, "an object", value)
        for name in value:
            if name not in allowed:
                raise WireError(f"{where or 'the message'}: unknown field {name!r}")
        for name in names:
            if name not in value:
                raise WireError(f"{where or 'the message'}: the field {name!r} is missing")
        return kind(**{name: decode(value[name], _below(where, name)) for name, decode in decoders})

    return decode_struct
