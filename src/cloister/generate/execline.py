"""How execlineb(1) reads a script: words, quotes, blocks."""

import re

from cloister.model.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")


def word(text: str, what: str) -> str:
    """One word. Inside double quotes a backslash protects itself and the quote; nothing is
    substituted that was not defined before, so ``$`` stands for itself."""
    if not text.isprintable():
        raise UsageError(
            f"{text!r} cannot be {what}",
            why="it has a character that cannot be written in a line of text",
            hint="take a name without control characters",
        )
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def script(options: str, *lines: str) -> str:
    """A script's text, for a file that can be executed."""
    return "\n".join([f"#!/usr/bin/execlineb {options}", *lines, ""])
