"""TOML within bounds. Standard library only: the supervisor reads its own configuration with it.

``tomllib`` has none: a key of 100,000 parts, which is 200 KB, takes it minutes and gigabytes (it
keeps every beginning of a key), and a number that ``int`` refuses for its length ends in an error
without a line.
"""

import re
import tomllib
from typing import Any

DEEPEST = 64
"""Parts of a key; those of a configuration have about five."""
LONGEST_NUMBER = 400
"""Characters; Python's int() takes more than linear time for longer ones."""

_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_JOINT = r"[ \t]*+\.[ \t]*+"
# Alternatives in this order; where none fits, nothing of interest begins.
_TOKEN = re.compile(
    rf'''
      """(?:[^"\\]|\\.|"{{1,2}}(?!"))*+"{{3,5}}
    | \'\'\'(?:[^\']|\'{{1,2}}(?!\'))*+\'{{3,5}}
    | \#[^\n]*+
    | (?P<number>[+-]?[0-9][0-9A-Za-z_]{{{LONGEST_NUMBER},}}+)
    | (?P<deep>{_PART}(?:{_JOINT}{_PART}){{{DEEPEST}}})
    | {_PART}(?:{_JOINT}{_PART})*+
    ''',
    re.DOTALL | re.VERBOSE,
)


class BoundError(ValueError):
    """A text is larger in some way than any configuration."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line
        """Counted from 1."""


def parse(text: str) -> dict[str, Any]:
    """The document. Raises :class:`BoundError`, and what ``tomllib.loads`` raises:
    ``tomllib.TOMLDecodeError`` and :class:`RecursionError`."""
    for token in _TOKEN.finditer(text):
        if token.lastgroup is not None:
            what = {
                "deep": f"a key has more than {DEEPEST} parts",
                "number": f"a number has more than {LONGEST_NUMBER} characters",
            }
            raise BoundError(what[token.lastgroup], text.count("\n", 0, token.start()) + 1)
    return tomllib.loads(text)
