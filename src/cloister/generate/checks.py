"""Values that stand in generated text: what cannot be written safely is refused.

Everything here raises :class:`UsageError` that names the value and a way out.
"""

import re

from cloister.model.errors import UsageError
from cloister.model.listener import UNIX_NAME_MAX

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}|[0-9]{1,9}")


def name(text: str, what: str) -> str:
    """A name that is the same everywhere: in file names, unit names, nginx and execline."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot be the name of {what}",
            why="it becomes part of file names and of other programs' settings",
            hint="take up to 64 letters, digits, dashes, dots and underscores, such as `php`",
        )
    return text


def account(text: str, what: str) -> str:
    """A user or a group, by name or number (the strict syntax of systemd's "User/Group Name
    Syntax")."""
    if not _ACCOUNT.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot be a {what}",
            hint="name one of the system's, such as `www-data`, or its number",
        )
    return text


def line(text: str, what: str) -> str:
    """Text that stays on its line: no control characters, no text that is not Unicode."""
    if not text.isprintable():
        raise UsageError(
            f"{text!r} cannot be {what}",
            why="it has a character that cannot be written in a line of text",
            hint="take a name without control characters",
        )
    return text


def path(text: str, what: str) -> str:
    """An absolute path in normal form."""
    line(text, what)
    parts = text.split("/")
    if not text.startswith("/") or any(part in {"", ".", ".."} for part in parts[1:]):
        raise UsageError(
            f"{text!r} cannot be {what}",
            why="it has to be an absolute path without `.`, `..` and doubled slashes",
            hint="write it as `realpath` prints it",
        )
    return text


def socket_path(text: str, what: str) -> str:
    """A path that programs with a ``sockaddr_un`` can bind or connect to."""
    path(text, what)
    if (size := len(text.encode())) > UNIX_NAME_MAX:
        raise UsageError(
            f"{text!r} cannot be {what}",
            why=f"it has {size} bytes, and a socket's path at most {UNIX_NAME_MAX}",
            hint="take a shorter path, for example in /run",
        )
    return text
