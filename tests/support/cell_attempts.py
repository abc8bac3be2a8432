"""Attempts to get out of a cell, each with the fence that stops it.

Every attempt is made twice: in a default cell, where it must be denied, and with that one
fence taken away, where the very same attempt must succeed. An attempt that is denied for
another reason would be denied without the fence too, and fails its test.
"""

import subprocess
from typing import Any

from tests.support.cell_spec import python, run_python

REACHED = "reached"

PRELUDE = """
import array, ctypes, errno, fcntl, os, socket, stat, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
def attempt():
{body}
try:
    attempt()
except OSError as error:
    print("denied", errno.errorcode.get(error.errno, error.errno))
else:
    print("reached")
"""


def script(body: str) -> str:
    """A whole program for the body of one attempt: it prints what came of it."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return PRELUDE.format(body=lines)


def in_cell(body: str, *, launch: dict[str, Any] | None = None, **changes: Any) -> str:
    """Makes the attempt in a cell: ``reached``, or ``denied`` with the error's name."""
    outcome = run_python(script(body), launch=launch, **changes)
    assert outcome.failure is None, outcome.failure
    assert outcome.status == 0, outcome
    return outcome.output.strip()


def on_host(body: str, user: int | None = None) -> str:
    """Makes the attempt on the host, as root or as another user."""
    done = subprocess.run(
        python(script(body)),
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={},
        timeout=20,
    )
    assert done.stderr == "", done.stderr
    return done.stdout.strip()
