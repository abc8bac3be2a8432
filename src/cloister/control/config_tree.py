"""A configuration as a tree that is read and changed by path, with NGINX Unit's rules. Pure.

A path is that of a request below ``/config``: names of members and indices of arrays, each
percent-encoded by itself, so that a slash in a name is ``%2F``. Every change makes a new document
and leaves the old one as it is; whether the new one is a configuration is for others to say.

=========== =====================================================================================
``GET``     the value; 404 where there is none
``PUT``     replaces the value, or makes a member of an object that is there, or the next
            element of an array
``POST``    appends to an array; 405 to anything else
``DELETE``  takes a member or an element away; of the whole, everything
=========== =====================================================================================
"""

import json
import re
from enum import Enum
from typing import Any
from urllib.parse import unquote_to_bytes

from cloister.config import json_text, toml_text
from cloister.config.lines import KeyPath

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Document = dict[str, Any]


class Refusal(Enum):
    """Why a request cannot be meant; the value is its HTTP status."""

    BAD_PATH = 400
    NOT_FOUND = 404
    NOT_ALLOWED = 405


class TreeError(Exception):
    """A request does not fit the document."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.detail = detail


def split(raw: str) -> tuple[str, ...]:
    """The parts of a path as it stands in a request, without ``/config``.

    ``""`` and ``/`` are the whole document, and one slash at the end means nothing. Raises
    :class:`TreeError` for a part that is empty or no percent-encoded UTF-8.
    """
    text = raw.removesuffix("/")
    if not text:
        return ()
    first, *parts = text.split("/")
    if first or not all(parts):
        raise TreeError(Refusal.BAD_PATH, "a part of the path is empty")
    return tuple(map(_decode, parts))


def _decode(part: str) -> str:
    encoded = part.encode(errors="surrogateescape")
    if _ESCAPE.search(encoded):
        raise TreeError(Refusal.BAD_PATH, f"{part!r} has a % that begins no escape; write %25")
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise TreeError(Refusal.BAD_PATH, f"{part!r} is no percent-encoded UTF-8") from None


def get(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at ``path``. Raises :class:`TreeError`."""
    node = document
    for depth, name in enumerate(path):
        node = _child(node, path[: depth + 1], name)
    return node


def located(document: Any, path: tuple[str, ...]) -> KeyPath:
    """``path`` with numbers for the elements of arrays; it need not exist from some point on."""
    found: list[str | int] = []
    node = document
    for name in path:
        key: str | int = int(name) if isinstance(node, list) and _INDEX.fullmatch(name) else name
        found.append(key)
        if isinstance(node, list):
            node = node[key] if isinstance(key, int) and key < len(node) else None
        else:
            node = node.get(name) if isinstance(node, dict) else None
    return tuple(found)


def put(document: Document, path: tuple[str, ...], value: Any) -> Any:
    """The document with ``value`` at ``path``. Raises :class:`TreeError`."""
    if not path:
        return value

    def change(parent: Any) -> Any:
        name = path[-1]
        if isinstance(parent, dict):
            return {**parent, name: value}
        if isinstance(parent, list):
            index = _index(name)
            if index is not None and index <= len(parent):
                return [*parent[:index], value, *parent[index + 1 :]]
            raise TreeError(
                Refusal.NOT_FOUND,
                f"{_write(path)} is no element: the array has {len(parent)}, counted from 0",
            )
        raise TreeError(Refusal.NOT_FOUND, f"{_write(path[:-1])} is neither object nor array")

    return _changed(document, path[:-1], change, ())


def post(document: Document, path: tuple[str, ...], value: Any) -> Any:
    """The document with ``value`` appended to the array at ``path``. Raises
    :class:`TreeError`."""

    def change(target: Any) -> Any:
        if isinstance(target, list):
            return [*target, value]
        raise TreeError(
            Refusal.NOT_ALLOWED, f"{_write(path)} is no array: POST appends, PUT replaces"
        )

    return _changed(document, path, change, ())


def delete(document: Document, path: tuple[str, ...]) -> Any:
    """The document without what stands at ``path``. Raises :class:`TreeError`."""
    if not path:
        return {}

    def change(parent: Any) -> Any:
        _child(parent, path, path[-1])
        if isinstance(parent, dict):
            return {name: value for name, value in parent.items() if name != path[-1]}
        index = int(path[-1])
        return [*parent[:index], *parent[index + 1 :]]

    return _changed(document, path[:-1], change, ())


def _changed(node: Any, path: tuple[str, ...], change: Any, done: tuple[str, ...]) -> Any:
    """``node`` with what is at ``path`` below it replaced by what ``change`` makes of it."""
    if not path:
        return change(node)
    name, *rest = path
    inner = _changed(_child(node, (*done, name), name), tuple(rest), change, (*done, name))
    if isinstance(node, dict):
        return {**node, name: inner}
    index = int(name)
    return [*node[:index], inner, *node[index + 1 :]]


def _child(node: Any, path: tuple[str, ...], name: str) -> Any:
    if isinstance(node, dict) and name in node:
        return node[name]
    index = _index(name)
    if isinstance(node, list) and index is not None and index < len(node):
        return node[index]
    raise TreeError(Refusal.NOT_FOUND, f"{_write(path)} is not there")


def _index(name: str) -> int | None:
    return int(name) if _INDEX.fullmatch(name) else None


def _write(path: tuple[str, ...]) -> str:
    """As a request would write it."""
    quoted = (name.replace("%", "%25").replace("/", "%2F") for name in path)
    return "/config" + "".join(f"/{name}" for name in quoted)


def read(text: str) -> Document:
    """The document of an accepted configuration, TOML or JSON."""
    if json_text.looks_like_json(text):
        document, _ = json_text.parse(text)
        assert isinstance(document, dict)  # noqa: S101 - it begins with a brace
        return document
    return toml_text.parse(text)


def carry_over(old: Document, new: Any) -> Any:
    """A whole new document with what the old one says of the supervisor and the door where the
    new one says nothing: Unit's configurations know neither."""
    if not isinstance(new, dict):
        return new
    kept = {name: old[name] for name in ("cloister", "door") if name in old and name not in new}
    return {**kept, **new}


def dump(value: Any) -> str:
    """A value as it is answered and kept."""
    return json.dumps(value, indent=4, ensure_ascii=False) + "\n"
