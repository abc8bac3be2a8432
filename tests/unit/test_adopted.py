"""Processes that somebody else has started, by their pidfds."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from cloister.adopted import UNKNOWN_STATUS, AdoptedProcess, is_alive, pid_of

GRANDCHILD = """
import os, sys
child = os.fork()
if child == 0:
    os.setsid()
    sys.stdin.read(1)
    os._exit(7)
print(child, flush=True)
"""


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def orphan() -> tuple[int, int]:
    """A process of somebody who has ended, which ends with its standard input: its pidfd, and
    the writing end of that."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", GRANDCHILD], stdin=reading, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
    os.close(reading)
    return pidfd, writing


def test_its_end_is_noticed_and_its_status_where_the_kernel_knows_it() -> None:
    async def scenario() -> None:
        pidfd, line = orphan()
        assert is_alive(pidfd)
        process = AdoptedProcess(pidfd)
        assert process.pid > 0
        waiting = asyncio.ensure_future(process.wait())
        os.close(line)
        assert await waiting in (7, UNKNOWN_STATUS)
        assert process.returncode == await process.wait()
        with pytest.raises(ProcessLookupError):
            process.kill()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(pidfd)

    run(scenario)


def test_it_is_signalled() -> None:
    async def scenario() -> None:
        pidfd, line = orphan()
        process = AdoptedProcess(pidfd)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() in (-signal.SIGTERM, UNKNOWN_STATUS)
        os.close(line)

    run(scenario)


def test_a_number_that_was_given_out_again_is_nobodys() -> None:
    """What a pidfd means ends with its process; another one of that number is not it."""
    child = subprocess.Popen(["sleep", "100"])
    pidfd = os.pidfd_open(child.pid)
    assert is_alive(pidfd)
    assert pid_of(pidfd) == child.pid
    child.kill()
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert not is_alive(pidfd)  # not even as a zombie
    child.wait()
    assert not is_alive(pidfd)
    assert pid_of(pidfd) == 0
    os.close(pidfd)
