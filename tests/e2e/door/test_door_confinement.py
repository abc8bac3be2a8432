"""What the door is while it reads bytes of strangers: nobody, with nothing, allowed little."""

from pathlib import Path

import pytest
from tests.support.door import UNPRIVILEGED, Door
from tests.support.processes import (
    mapping_permissions,
    open_files,
    status_fields,
    thread_status_fields,
)

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SECCOMP_MODE_FILTER = "2"


@pytest.mark.usefixtures("as_root")
def test_every_thread_is_nobody_without_capabilities(door: Door) -> None:
    threads = thread_status_fields(door.pid)
    assert threads
    for thread in threads:
        assert thread["Uid"].split() == [str(UNPRIVILEGED)] * 4
        assert thread["Gid"].split() == [str(UNPRIVILEGED)] * 4
        assert thread["Groups"].split() in ([], [str(UNPRIVILEGED)])
        for capabilities in CAPABILITY_SETS:
            assert int(thread[capabilities], 16) == 0, capabilities


def test_every_thread_is_filtered_and_gains_nothing(door: Door) -> None:
    for thread in thread_status_fields(door.pid):
        assert thread["NoNewPrivs"] == "1"
        assert thread["Seccomp"] == SECCOMP_MODE_FILTER


def test_it_holds_no_descriptor_of_its_starter(door: Door) -> None:
    """An open file of whoever starts the door would be a way around every protection."""
    links = open_files(door.pid)
    foreign = {
        link
        for link in links
        if not link.startswith(("socket:", "pipe:", "anon_inode:")) and link != "/dev/null"
    }
    # The hosts directory itself, as a place to look names up in, and the list of its own
    # descriptors, by which it connects to a socket that it has looked at.
    foreign.discard(f"/proc/{door.pid}/fd")
    assert all(Path(link).name == "hosts" for link in foreign), foreign


def test_its_memory_is_small_and_never_both_writable_and_executable(door: Door) -> None:
    assert not any("w" in mode and "x" in mode for mode in mapping_permissions(door.pid))
    # The promise for an idle door is 4 MB resident.
    resident = int(status_fields(door.pid)["VmRSS"].split()[0])
    assert resident < 4_096
