"""Names in `[apps.NAME.fences]`: system calls, parts of /proc, labels.

Each parser takes the text as written and returns it, or raises what ``problems.refusal``
makes. No I/O.
"""

import difflib
from collections.abc import Iterable

from cloister.config.problems import Code, refusal
from cloister.model.fences import PROC_FILES
from cloister.model.system_calls import ADDITIONS, NAMES

_LABEL_LENGTH = 4000
"""Bytes: less than a page, which one write to /proc/PID/attr takes (proc_pid_attr_write() in
fs/proc/base.c)."""


def parse_call(text: str) -> str:
    """A system call, or a group of them."""
    known = {*ADDITIONS, *NAMES}
    return _one_of(text, known, "system call and no group of them", '"ptrace"')


def parse_proc_file(text: str) -> str:
    """A file or folder of /proc that a cell may see."""
    return _one_of(text, PROC_FILES, "part of /proc that a cell may see", '"meminfo"')


def parse_label(text: str) -> str:
    """An SELinux context or the name of an AppArmor profile."""
    if text and text.isascii() and text.isprintable() and len(text) <= _LABEL_LENGTH:
        return text
    raise refusal(
        Code.BAD_NAME,
        f'"{text}" cannot be a label',
        why="it has to be printable ASCII, and not empty",
    )


def _one_of(text: str, known: Iterable[str], what: str, example: str) -> str:
    names = sorted(known)
    if text in names:
        return text
    near = difflib.get_close_matches(text.lower(), names, 1)
    raise refusal(
        Code.UNKNOWN_VALUE,
        f'"{text}" is no {what}',
        hint=f'did you mean "{near[0]}"?' if near else f"for example {example}",
    )
