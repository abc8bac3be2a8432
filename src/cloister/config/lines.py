"""The line of every key in a TOML document, which ``tomllib`` does not tell.

The scanner reads documents that ``tomllib`` has accepted: it knows where keys and values
begin and end, and relies on their being valid. TOML 1.0 (toml.io/en/v1.0.0), and inline
tables over several lines as TOML 1.1 has them.
"""

import tomllib
from collections.abc import Iterable, Mapping

KeyPath = tuple[str | int, ...]
"""Keys, and indices into arrays, from the document's root."""

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_BLANK = frozenset(" \t")
_SPACE = frozenset(" \t\r\n")
_SCALAR_END = frozenset(" \t\r\n#,]}")


class Lines:
    """Maps key paths to lines, counted from 1."""

    def __init__(self, known: Mapping[KeyPath, int]) -> None:
        self._known = known

    def exact(self, path: KeyPath) -> int | None:
        """The line on which ``path`` begins; ``None`` where the document does not name it."""
        return self._known.get(path)

    def all(self) -> Iterable[tuple[KeyPath, int]]:
        """Every path that the document names, with its line."""
        return self._known.items()

    def nearest(self, path: KeyPath) -> int | None:
        """The line of ``path``, or of whatever encloses it; ``None`` for the whole document."""
        while path:
            line = self._known.get(path)
            if line is not None:
                return line
            path = path[:-1]
        return None


def scan(text: str) -> Lines:
    """The lines of all keys and array elements in ``text``, which ``tomllib`` accepted.

    Raises:
        RecursionError: for values nested more deeply than Python's stack allows.
    """
    scanner = _Scanner(text)
    scanner.document()
    return Lines(scanner.known)


class _Scanner:
    """A position that only moves forward. Each method starts at the thing that it names."""

    def __init__(self, text: str) -> None:
        self.known: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._counted = 0
        self._line = 1
        self._elements: dict[KeyPath, int] = {}
        """How often each ``[[array of tables]]`` was continued."""

    def document(self) -> None:
        table: KeyPath = ()
        while True:
            self._skip(_SPACE)
            if self._at >= len(self._text):
                return
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        line = self._here()
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        keys = self._keys()
        self._at += 2 if several else 1
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._last_element((*path, key), line)
        path = (*path, keys[-1])
        if not several:
            # Headers below it may have come first; its own says more.
            self.known[path] = line
            return path
        self.known.setdefault(path, line)
        count = self._elements.get(path, 0)
        self._elements[path] = count + 1
        self.known[*path, count] = line
        return (*path, count)

    def _last_element(self, path: KeyPath, line: int) -> KeyPath:
        """``path``, or its newest element where it is an array of tables."""
        self.known.setdefault(path, line)
        count = self._elements.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: KeyPath) -> None:
        line = self._here()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.known.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> list[str]:
        """A key and what is joined to it by dots; ends at what follows the blanks."""
        keys = []
        while True:
            self._skip(_BLANK)
            keys.append(self._key())
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _key(self) -> str:
        start = self._at
        if self._text[start] in "\"'":
            self._string()
            # The quoting rules of keys are those of values: let tomllib undo them.
            (key,) = tomllib.loads(f"x = {self._text[start : self._at]}").values()
            return str(key)
        while self._at < len(self._text) and self._text[self._at] in _BARE:
            self._at += 1
        return self._text[start : self._at]

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in _SCALAR_END:
                self._at += 1

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_SPACE, ",")
            if self._text[self._at] == "]":
                self._at += 1
                return
            self.known[*path, index] = self._here()
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while True:
            self._skip(_SPACE, ",")
            if self._text[self._at] == "}":
                self._at += 1
                return
            self._pair(path)

    def _string(self) -> None:
        quote = self._text[self._at]
        delimiter = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._at += len(delimiter)
        while not self._text.startswith(delimiter, self._at):
            # A backslash escapes only between double quotes.
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(delimiter)
        if len(delimiter) == 3:
            # Up to two more quotes before the closing ones belong to the text.
            while self._text.startswith(quote, self._at):
                self._at += 1

    def _skip(self, space: frozenset[str], also: str = "") -> None:
        """Moves over ``space``, single characters of ``also``, and comments."""
        while self._at < len(self._text):
            here = self._text[self._at]
            if here == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif here in space or here in also:
                self._at += 1
            else:
                return

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
