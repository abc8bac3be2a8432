"""Files of /proc, read from real processes."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cloister import proc

GONE = 2**22 + 1
"""No process has this number (pid_max)."""


def test_this_process_as_the_kernel_shows_it() -> None:
    pid = os.getpid()
    assert pid in set(proc.pids())
    status = proc.status(pid)
    assert int(status["PPid"]) == os.getppid()
    assert int(status["Uid"].split()[1]) == os.geteuid()
    assert proc.link(pid, "cwd") == str(Path.cwd())
    assert proc.namespace(pid, "net") == Path("/proc/self/ns/net").stat().st_ino


def test_limits_by_their_titles() -> None:
    limits = proc.limits(os.getpid())
    assert limits is not None

    def known(value: int) -> int:
        return -1 if value == resource.RLIM_INFINITY else value

    for title, kind in (
        ("Max open files", resource.RLIMIT_NOFILE),
        ("Max processes", resource.RLIMIT_NPROC),
        ("Max core file size", resource.RLIMIT_CORE),
        ("Max realtime timeout", resource.RLIMIT_RTTIME),
    ):
        soft, hard = resource.getrlimit(kind)
        assert limits[title] == (known(soft), known(hard)), title


def test_its_sockets_and_nothing_else() -> None:
    with socket.socket() as mine:
        assert os.fstat(mine.fileno()).st_ino in proc.sockets(os.getpid())


def test_whoever_has_ended_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        proc.status(GONE)
    assert proc.limits(GONE) is None
    assert proc.link(GONE, "exe") is None
    assert proc.namespace(GONE, "mnt") is None
    assert proc.control_groups(GONE) == ()
    assert proc.label(GONE) is None
    assert list(proc.sockets(GONE)) == []
    assert proc.descendants(GONE) == [GONE]


def test_a_child_is_below_its_parent() -> None:
    command = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.pid in proc.descendants(os.getpid())


@pytest.mark.parametrize(
    ("groups", "unit"),
    [
        ((("", "/system.slice/nginx.service"),), "nginx.service"),
        ((("memory", "/"), ("", "/user.slice/user@1.service/app.slice/a.service/x")), "a.service"),
        ((("", "/system.slice"),), None),
        ((), None),
    ],
)
def test_the_unit_that_groups_are_named_for(
    groups: tuple[tuple[str, str], ...], unit: str | None
) -> None:
    assert proc.unit(groups) == unit
