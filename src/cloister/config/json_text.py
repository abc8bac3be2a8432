"""JSON as NGINX Unit reads it: with comments, a byte order mark and trailing commas; each name
of an object once; and the line of every member, for messages.

Beyond RFC 8259 Unit's own parser (src/nxt_conf.c) takes ``// …`` and ``/* … */`` wherever
blanks may stand, and a comma before a closing bracket. Standard library only: the supervisor
reads requests with it.
"""

import json
import math
import re
from typing import Any

from cloister.config.lines import KeyPath, Lines
from cloister.model.configuration import Dialect

DEEPEST = 64
"""Arrays and objects within each other; a configuration has about ten."""

# Possessive: it never gives anything back, and so need not remember what it took.
_BLANK = re.compile(r"(?:[ \t\r\n]++|//[^\n]*+|/\*.*?\*/)*+", re.DOTALL)
_BODY = re.compile(r'[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_LITERALS = {"true": True, "false": False, "null": None}
_LITERAL = re.compile(r"(?:true|false|null)(?![A-Za-z0-9_])", re.ASCII)
_LONGEST_NUMBER = 400
"""Characters; Python's int() takes more than linear time for longer ones."""


class JsonError(ValueError):
    """A text is no JSON."""

    def __init__(self, what: str, text: str, offset: int) -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset
        """In characters from the beginning."""
        self.line = text.count("\n", 0, offset) + 1
        """Counted from 1, as the column."""
        self.column = offset - (text.rfind("\n", 0, offset) + 1) + 1


def looks_like_json(text: str) -> bool:
    """Whether ``text`` begins as a JSON object does; no TOML document begins so."""
    start = _skip(text, 1 if text.startswith("\ufeff") else 0)
    return text[start : start + 1] == "{"


def dialect_of(text: str) -> Dialect:
    """What a configuration is written in, if it is one."""
    return Dialect.JSON if looks_like_json(text) else Dialect.TOML


def parse(text: str) -> tuple[Any, Lines]:
    """The value, and the line on which each member and element begins.

    Raises :class:`JsonError`.
    """
    reader = _Reader(text)
    value = reader.document()
    return value, Lines(reader.known)


def pointer(path: KeyPath) -> str:
    """``path`` as a JSON pointer (RFC 6901)."""
    escaped = (str(key).replace("~", "~0").replace("/", "~1") for key in path)
    return "".join(f"/{key}" for key in escaped)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return at if match is None else match.end()


class _Reader:
    """A position that only moves forward."""

    def __init__(self, text: str) -> None:
        self.known: dict[KeyPath, int] = {}
        self._text = text
        self._at = 1 if text.startswith("\ufeff") else 0
        self._counted = 0
        self._line = 1

    def document(self) -> Any:
        self._blank()
        if self._at == len(self._text):
            raise self._error("the JSON text is empty")
        value = self._value(())
        self._blank()
        if self._at < len(self._text):
            raise self._error("something follows the end of the JSON value")
        return value

    def _value(self, path: KeyPath) -> Any:
        first = self._text[self._at : self._at + 1]
        if first in ("{", "[") and len(path) >= DEEPEST:
            raise self._error(f"values are nested more than {DEEPEST} deep")
        if first == "{":
            return self._object(path)
        if first == "[":
            return self._array(path)
        if first == '"':
            return self._string()
        literal = _LITERAL.match(self._text, self._at)
        if literal is not None:
            self._at = literal.end()
            return _LITERALS[literal[0]]
        return self._number()

    def _object(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._next("}", first=not found):
            start = self._at
            if self._text[start] != '"':
                raise self._error("a member's name in double quotes is expected")
            line = self._here()
            name = self._string()
            if name in found:
                raise JsonError(f'the member "{name}" is given twice', self._text, start)
            self._blank()
            if self._text[self._at : self._at + 1] != ":":
                raise self._error(f'a colon is expected after "{name}"')
            self._at += 1
            self._blank()
            self.known[*path, name] = line
            found[name] = self._value((*path, name))
        return found

    def _array(self, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while self._next("]", first=not found):
            self.known[*path, len(found)] = self._here()
            found.append(self._value((*path, len(found))))
        return found

    def _next(self, closing: str, *, first: bool) -> bool:
        """Moves to the next member or element, or beyond the closing bracket."""
        if first:
            self._at += 1
        self._blank()
        if not first and self._text[self._at : self._at + 1] == ",":
            self._at += 1
            self._blank()
        elif not first and self._text[self._at : self._at + 1] not in ("", closing):
            raise self._error(f'a comma or "{closing}" is expected')
        if self._at >= len(self._text):
            raise self._error(f'the text ends where "{closing}" is missing')
        if self._text[self._at] != closing:
            return True
        self._at += 1
        return False

    def _string(self) -> str:
        start = self._at
        body = _BODY.match(self._text, start + 1)
        end = start + 1 if body is None else body.end()
        if self._text[end : end + 1] != '"':
            if end >= len(self._text) - 1:
                raise JsonError("a text lacks its closing quote", self._text, start)
            what = "a line break or another control character in a text has to be escaped"
            raise JsonError(what, self._text, end)
        try:
            value: str = json.loads(self._text[start : end + 1])
        except json.JSONDecodeError as error:
            what = 'a backslash in a text has to be followed by one of "\\/bfnrtu'
            raise JsonError(what, self._text, start + error.pos) from None
        if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            raise JsonError("half of a surrogate pair is no character", self._text, start)
        self._at = end + 1
        return value

    def _number(self) -> int | float:
        match = _NUMBER.match(self._text, self._at)
        if match is None or match.end() - self._at > _LONGEST_NUMBER:
            raise self._error(
                "a value is expected: a text in double quotes, a number, an object, "
                "an array, true, false or null"
            )
        self._at = match.end()
        if match[1] is None and match[2] is None:
            return int(match[0])
        value = float(match[0])
        if math.isinf(value):
            raise JsonError(f"the number {match[0]} is too large", self._text, match.start())
        return value

    def _blank(self) -> None:
        self._at = _skip(self._text, self._at)
        if self._text.startswith("/*", self._at):
            raise self._error("a comment is not closed")

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _error(self, what: str) -> JsonError:
        return JsonError(what, self._text, self._at)
