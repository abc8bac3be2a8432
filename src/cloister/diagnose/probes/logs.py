"""Refusals of security modules, from wherever this system keeps them."""

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

_DENIAL = re.compile(
    r"apparmor=\"DENIED\"|avc:\s+denied|operation=\"profile_replace\"|type=(?:1403|MAC_POLICY_LOAD)"
)
"""Refusals, and the changes of policy after which they may be history."""
_TAIL = 4 * 1024 * 1024
"""Bytes read from the end of a log file."""
_FILES = ("/var/log/audit/audit.log", "/var/log/kern.log", "/var/log/syslog")
_RECORD = 8192
"""A record of /dev/kmsg is no longer (Linux, Documentation/ABI/testing/dev-kmsg)."""


def denials(files: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The lines with what was refused, and those with changes of the policy; oldest first in
    each log, each once. And whether a log was closed to this user."""
    found: dict[str, None] = {}
    closed = False
    for path in (*_FILES, *files):
        try:
            with Path(path).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            continue
        except OSError:
            closed = True
            continue
        found |= dict.fromkeys(line for line in text.splitlines() if _DENIAL.search(line))
    kernel, refused = _kernel_messages()
    found |= dict.fromkeys(line for line in kernel if _DENIAL.search(line))
    return tuple(found), closed or refused


def _kernel_messages() -> tuple[list[str], bool]:
    """The kernel's ring buffer, and whether it is closed to this user."""
    lines: list[str] = []
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return lines, False
    except OSError:
        return _journal(), True
    try:
        with suppress(BlockingIOError):
            while True:
                with suppress(BrokenPipeError):  # overwritten meanwhile: the next one follows
                    record = os.read(log, _RECORD).decode(errors="replace")
                    lines.append(record.partition(";")[2].partition("\n")[0])
    except OSError:
        return lines, True
    finally:
        os.close(log)
    return lines, False


def _journal() -> list[str]:
    """The same from the journal, which members of ``adm`` may read."""
    command = ["journalctl", "--dmesg", "--boot", "--quiet", "--no-pager", "--output=cat"]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [*command, "--lines=5000"], capture_output=True, text=True, timeout=10, check=False
        )
        return done.stdout.splitlines()
    return []
