"""What the kernel says about a running process (proc_pid_status(5) and its neighbours)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@contextlib.contextmanager
def looking_inside() -> Iterator[None]:
    """Skips the test where the kernel lets only root look: a program that is not dumpable
    (prctl(2) PR_SET_DUMPABLE) hides its descriptors and memory from its own user."""
    try:
        yield
    except PermissionError:
        if os.geteuid() == 0:
            raise
        pytest.skip("needs root: the program hides its descriptors and memory from its user")


def command_line(process: psutil.Process) -> list[str]:
    """Its command and arguments; empty where it has ended since it was listed."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie as well
        return []


def status_fields(pid: int) -> dict[str, str]:
    """All lines of ``/proc/PID/status`` by their names; values without outer blanks."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def thread_status_fields(pid: int) -> list[dict[str, str]]:
    """As :func:`status_fields`, for each thread: credentials and seccomp belong to threads."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [status_fields(int(thread.name)) for thread in threads]


def resident_bytes(pid: int) -> int:
    """Resident memory. From smaps_rollup: the counters in statm lag behind by some pages."""
    with looking_inside():
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    for line in text.splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no resident set")


def descriptor_count(pid: int) -> int:
    """How many file descriptors it has open."""
    with looking_inside():
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def lasting_descriptor_count(pid: int) -> int:
    """How many file descriptors a door has open but for what it keeps for the next connection:
    empty pipes (pipes.rs), and folders of hosts, once they are two seconds old (kept.rs)."""
    names = open_files(pid)
    return sum(1 for name in names if not name.startswith("pipe:") and "/hosts/" not in name)


def open_files(pid: int) -> list[str]:
    """What its descriptors are, as ``/proc/PID/fd`` names it: ``socket:[INODE]``, a path."""
    found = []
    with looking_inside():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(str(descriptor.readlink()))
    return found


def mapping_permissions(pid: int) -> set[str]:
    """The permissions of its memory mappings, such as ``r-xp``."""
    with looking_inside():
        mappings = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {mapping.split()[1] for mapping in mappings}


def is_running(pid: int) -> bool:
    """Whether it exists and is no zombie."""
    try:
        return not status_fields(pid)["State"].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> set[int]:
    """Its living children, of all its threads."""
    found = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (thread / "children").read_text().split()}
    return found


def wake_ups(pid: int) -> int:
    """How often its threads have gone to sleep, and so were woken, of their own accord."""
    return sum(int(thread["voluntary_ctxt_switches"]) for thread in thread_status_fields(pid))


def processor_seconds(pid: int) -> float:
    """Processor time that it has used, user and system (schedstat counts nanoseconds)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
