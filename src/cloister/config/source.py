"""A configuration file's text: read within bounds, parsed as TOML or, where it begins with a
brace, as JSON; with the line of each key.
"""

import errno
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloister.config import json_text, toml_text
from cloister.config.lines import KeyPath, Lines, scan
from cloister.config.problems import Code
from cloister.model.configuration import MAX_BYTES
from cloister.model.errors import ConfigError, Location, Problem

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_WORD = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Notation:
    """How a document's language writes what messages quote."""

    path: Callable[[KeyPath], str]
    pair: Callable[[str, str], str]
    """A key and its value."""


def dotted(path: KeyPath) -> str:
    """``path`` as TOML writes it: quoted where it has to be, indices in brackets."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += "." * bool(text) + (key if _WORD.fullmatch(key) else f'"{key}"')
    return text


TOML = Notation(dotted, lambda key, value: f"{key} = {value}")
JSON = Notation(json_text.pointer, lambda key, value: f'"{key}": {value}')


@dataclass(frozen=True, slots=True)
class Source:
    """A document that is valid TOML or JSON."""

    file: str
    """Its path as the user gave it."""
    document: dict[str, Any]
    lines: Lines
    notation: Notation = TOML

    def locate(self, path: KeyPath) -> Location:
        """Where ``path`` stands, or what encloses it where the document does not name it.

        An index into what was written as a single value is left out.
        """
        node: Any = self.document
        for depth, key in enumerate(path):
            if isinstance(key, int) and not isinstance(node, list):
                path = path[:depth]
                break
            if isinstance(node, dict):
                node = node.get(str(key))
            else:
                node = node[key] if isinstance(node, list) and isinstance(key, int) else None
        return Location(self.file, self.lines.nearest(path), self.notation.path(path))


def read(file: str) -> Source:
    """Reads and parses ``file``.

    Raises:
        ConfigError: it cannot be read, is too large, or is neither TOML nor JSON in UTF-8.
    """
    return parse(file, read_text(file))


def read_text(file: str) -> str:
    """The text of ``file``.

    Raises:
        ConfigError: it cannot be read, is too large, or is no UTF-8.
    """
    return decode_text(file, _bytes(file))


def decode(file: str, content: bytes) -> Source:
    """Parses the file's content; ``file`` is for messages.

    Raises:
        ConfigError: it is neither TOML nor JSON in UTF-8.
    """
    return parse(file, decode_text(file, content))


def _bytes(file: str) -> bytes:
    try:
        # Not to be held up by a FIFO that nobody writes to.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 (a descriptor, not a path)
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        hints = {
            errno.ENOENT: "name another file, or write one with `cloister init`",
            errno.EISDIR: f"name the file in it, for example {Path(file) / 'cloister.toml'}",
            errno.EACCES: "run as a user who may read it, or change its mode",
        }
        raise _error(
            file,
            Code.FILE_UNREADABLE,
            "the configuration cannot be read",
            why=os.strerror(error.errno or 0),
            hint=hints.get(error.errno or 0),
        ) from error
    return content


def decode_text(file: str, content: bytes) -> str:
    """The text that ``content`` is; ``file`` is for messages.

    Raises:
        ConfigError: it is too large, or no UTF-8.
    """
    if len(content) > MAX_BYTES:
        raise _too_large(file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(
            file,
            Code.NOT_UTF8,
            f"byte {content[error.start]:#04x} is no UTF-8",
            line=content.count(b"\n", 0, error.start) + 1,
            why="TOML and JSON are written in UTF-8",
            hint=f"convert it, for example: iconv -f latin1 -t utf-8 {file}",
        ) from error


def parse(file: str, text: str) -> Source:
    """Parses ``text``; ``file`` is for messages.

    Raises:
        ConfigError: it is too large, or neither TOML nor a JSON object in what UTF-8 can write.
    """
    if len(text) > MAX_BYTES:
        raise _too_large(file)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        # JSON's escapes can write it, and so can who sends a text in JSON.
        raise _error(
            file,
            Code.NOT_UTF8,
            "half of a surrogate pair is no character",
            line=text.count("\n", 0, error.start) + 1,
            hint="write the character itself, or both halves",
        ) from error
    if size > MAX_BYTES:
        raise _too_large(file)
    if json_text.looks_like_json(text):
        return _parse_json(file, text)
    try:
        return Source(file, toml_text.parse(text), scan(text))
    except toml_text.BoundError as error:
        raise _error(
            file, Code.SYNTAX, str(error), line=error.line, hint="is it the right file?"
        ) from error
    except tomllib.TOMLDecodeError as error:
        what, line = _syntax_error(error, text)
        raise _error(file, Code.SYNTAX, what, line=line, hint=_syntax_hint(text, line)) from error
    except RecursionError as error:
        raise _error(
            file, Code.SYNTAX, "values are nested too deeply", hint="is it the right file?"
        ) from error


def _parse_json(file: str, text: str) -> Source:
    try:
        document, lines = json_text.parse(text)
    except json_text.JsonError as error:
        raise _error(
            file,
            Code.SYNTAX,
            error.what,
            line=error.line,
            why=f"the text is no JSON at column {error.column}",
            hint='a member is "name": value, and a comma separates it from the next',
        ) from error
    # It begins with a brace.
    assert isinstance(document, dict)  # noqa: S101
    return Source(file, document, lines, JSON)


def _syntax_error(error: tomllib.TOMLDecodeError, text: str) -> tuple[str, int]:
    """What tomllib says, and the line. Python 3.14 has them as attributes, older ones as text."""
    match = _PLACE.search(str(error))
    message = str(getattr(error, "msg", None) or _PLACE.sub("", str(error)))
    line = getattr(error, "lineno", None)
    if not isinstance(line, int):
        line = int(match[1]) if match and match[1] else text.rstrip("\n").count("\n") + 1
    return message[:1].lower() + message[1:], line


def _syntax_hint(text: str, line: int) -> str:
    lines = text.split("\n")
    _, equals, value = (lines[line - 1] if line <= len(lines) else "").partition("=")
    value = value.strip()
    if equals and value and value[0] not in "\"'[{":
        return f'texts stand between double quotes, for example "{value.split("#")[0].strip()}"'
    return "a line is `[table]`, `key = value` or `# comment`"


def _too_large(file: str) -> ConfigError:
    return _error(
        file,
        Code.FILE_TOO_LARGE,
        f"the configuration is larger than {MAX_BYTES // 1024} KiB",
        hint="is it the right file?",
    )


def _error(
    file: str,
    code: Code,
    what: str,
    *,
    line: int | None = None,
    why: str | None = None,
    hint: str | None = None,
) -> ConfigError:
    return ConfigError([Problem(code, what, Location(file, line, ""), why, hint)])
