"""The scanner finds the line of every key, in whatever way a document is written."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.config.lines import KeyPath, scan

DOCUMENT = '''\
# a comment with [brackets] and = signs
title = "x"
site."example.org".port = 1  # dotted, quoted

[listeners.https]
listen = [
  "a",  # not ]
  ["b", "c"],

  { key = "]", "other key" = { deep = 1 } },
]
text = """
[not.a.table]
key = 1 \\""" still text""""
literal = \'\'\'
"""
\'\'\'
after = true

[[apps.blog.binds]]
source = 1
[apps.blog.binds.options]
x = 1979-05-27 07:32:00
[[apps.blog.binds]]
source = 2
[apps]
late = 1
'''

EXPECTED: dict[KeyPath, int] = {
    ("title",): 2,
    ("site",): 3,
    ("site", "example.org"): 3,
    ("site", "example.org", "port"): 3,
    ("listeners", "https"): 5,
    ("listeners", "https", "listen"): 6,
    ("listeners", "https", "listen", 0): 7,
    ("listeners", "https", "listen", 1): 8,
    ("listeners", "https", "listen", 1, 1): 8,
    ("listeners", "https", "listen", 2): 10,
    ("listeners", "https", "listen", 2, "other key", "deep"): 10,
    ("listeners", "https", "text"): 12,
    ("listeners", "https", "literal"): 15,
    ("listeners", "https", "after"): 18,
    ("apps", "blog", "binds"): 20,
    ("apps", "blog", "binds", 0): 20,
    ("apps", "blog", "binds", 0, "source"): 21,
    ("apps", "blog", "binds", 0, "options"): 22,
    ("apps", "blog", "binds", 0, "options", "x"): 23,
    ("apps", "blog", "binds", 1): 24,
    ("apps", "blog", "binds", 1, "source"): 25,
    ("apps",): 26,
    ("apps", "late"): 27,
}


@pytest.mark.parametrize(("path", "line"), EXPECTED.items())
def test_line(path: KeyPath, line: int) -> None:
    assert scan(DOCUMENT).exact(path) == line


def test_nearest_is_what_encloses_a_missing_key() -> None:
    lines = scan(DOCUMENT)
    assert lines.nearest(("apps", "blog", "binds", 1, "missing", "deeper")) == 24
    assert lines.nearest(("missing",)) is None
    assert lines.nearest(()) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("\n", None),
        ("# a = 1", None),
        ("a = 1", 1),
        ("a=''", 1),
        ("\r\n\r\na = [ ]", 3),
    ],
)
def test_small_documents(text: str, line: int | None) -> None:
    tomllib.loads(text)
    assert scan(text).exact(("a",)) == line


class Writer:
    """A document as it grows, and the line of each path in it."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.text = ""
        self.expected: dict[KeyPath, int] = {}
        self._draw = draw
        self._names = 0

    def put(self, text: str) -> None:
        self.text += text

    def mark(self, path: KeyPath) -> None:
        self.expected.setdefault(path, self.text.count("\n") + 1)

    def choose(self, *choices: str) -> str:
        return str(self._draw(st.sampled_from(choices)))

    def number(self, most: int) -> int:
        return int(self._draw(st.integers(0, most)))

    def key(self) -> tuple[str, str]:
        """A new key, as written and as meant."""
        self._names += 1
        name = f"k{self._names}"
        odd = self.choose("", ".", "#", "[x]", "=", " ", "é")
        if not odd:
            return name, name
        quote = self.choose('"', "'")
        escaped = "\\u0041" if quote == '"' else ""
        return f"{quote}{name}{odd}{escaped}{quote}", f"{name}{odd}{'A' if escaped else ''}"

    def scalar(self) -> str:
        return self.choose(
            "0", "-1.5e3", "true", "inf", "1979-05-27T07:32:00Z", "07:32:00", "0xdead_beef",
            '""', "''", '"a # ] } = \\" \\\\"', "'\\'", '"""a\n\\"\n""""', "'''\n''a''\n'''''",
            '"""\\\n   a"""', "''''x'''", '"""\r\n[t]\r\nk = 1"""',
        )  # fmt: skip

    def space(self) -> str:
        return self.choose("", " ", "\t", "\n", " # c ] } \" '''\n", "\r\n\n")

    def value(self, path: KeyPath, depth: int) -> None:
        kind = self.choose("scalar", "array", "table") if depth < 3 else "scalar"
        if kind == "scalar":
            self.put(self.scalar())
        elif kind == "array":
            self.put("[")
            count = self.number(3)
            for index in range(count):
                self.put(self.space())
                self.mark((*path, index))
                self.value((*path, index), depth + 1)
                self.put(self.space())
                if index < count - 1 or self.choose("", ","):
                    self.put(",")
            self.put(self.space() + "]")
        else:
            self.put("{")
            for index in range(self.number(2)):
                self.put("," if index else "")
                self.put(self.choose("", " "))
                self.pair(path, depth + 1)
                self.put(self.choose("", "\t"))
            self.put("}")

    def pair(self, table: KeyPath, depth: int) -> None:
        path = table
        for part in range(1 + self.number(2)):
            written, meant = self.key()
            path = (*path, meant)
            self.put(self.choose(".", " . ") if part else "")
            self.mark(path)
            self.put(written)
        self.put(self.choose("=", " = ", "\t="))
        self.put(self.choose("", " "))
        self.value(path, depth)

    def pairs(self, table: KeyPath) -> None:
        for _ in range(self.number(3)):
            self.put(self.choose("", "  ", "\n", "# [c]\n"))
            self.pair(table, 0)
            self.put(self.choose("\n", " # end\n", "\r\n"))

    def document(self) -> None:
        self.pairs(())
        for _ in range(self.number(3)):
            outer_written, outer = self.key()
            if self.choose("table", "array") == "table":
                inner_written, inner = self.key()
                self.mark((outer,))
                self.mark((outer, inner))
                self.put(f"[{outer_written} . {inner_written}]\n")
                self.pairs((outer, inner))
                continue
            for index in range(1 + self.number(2)):
                self.mark((outer,))
                self.mark((outer, index))
                self.put(f"[[ {outer_written} ]] # again\n")
                self.pairs((outer, index))
                if self.choose("", "sub"):
                    inner_written, inner = self.key()
                    self.mark((outer, index, inner))
                    self.put(f"[{outer_written}.{inner_written}]\n")
                    self.pairs((outer, index, inner))


@st.composite
def documents(draw: Callable[[st.SearchStrategy[Any]], Any]) -> tuple[str, dict[KeyPath, int]]:
    writer = Writer(draw)
    writer.document()
    return writer.text, writer.expected


def paths(node: object, path: KeyPath = ()) -> set[KeyPath]:
    """Every path in what tomllib read."""
    found = {path} - {()}
    children: list[tuple[str | int, object]] = []
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list):
        children = list(enumerate(node))
    for key, child in children:
        found |= paths(child, (*path, key))
    return found


@given(documents())
def test_every_key_and_element_of_any_document_has_its_line(
    document: tuple[str, dict[KeyPath, int]],
) -> None:
    text, expected = document
    assert paths(tomllib.loads(text)) == set(expected)
    lines = scan(text)
    assert {path: lines.exact(path) for path in expected} == expected


@given(documents())
def test_line_ends_of_windows_change_nothing(document: tuple[str, dict[KeyPath, int]]) -> None:
    text, expected = document
    lines = scan(text.replace("\r\n", "\n").replace("\n", "\r\n"))
    assert {path: lines.exact(path) for path in expected} == expected
