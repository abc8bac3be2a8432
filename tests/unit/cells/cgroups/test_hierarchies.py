"""Where groups may be made: as /proc shows it on each kind of host."""

import os
from pathlib import Path

import pytest

from cloister.cells.cgroups import hierarchies as module
from cloister.cells.cgroups.hierarchies import (
    Hierarchy,
    bounding,
    discover,
    hierarchies,
    mounted,
)

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
MEMBER = "9:name=systemd:/x\n4:memory:/own\n1:cpu,cpuacct:/\n0::/other\n"


def test_one_hierarchy_of_version_2() -> None:
    (one,) = hierarchies(UNIFIED, "0::/system.slice/cloister.service\n")
    own = "/sys/fs/cgroup/system.slice/cloister.service"
    assert one == Hierarchy(2, frozenset(), "/sys/fs/cgroup", own)


def test_hierarchies_of_both_versions() -> None:
    found = {one.mount.rpartition("/")[2]: one for one in hierarchies(HYBRID, MEMBER)}
    assert {name: one.own for name, one in found.items()} == {
        "cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory/own",
        "systemd": "/sys/fs/cgroup/systemd/x",
        "unified": "/sys/fs/cgroup/unified/other",
    }
    assert found["cpu,cpuacct"].controllers == {"cpu", "cpuacct"}


@pytest.mark.parametrize(
    ("root", "group", "own"),
    [
        ("/docker/abc", "/docker/abc", "/cg"),
        ("/docker/abc", "/docker/abc/inner", "/cg/inner"),
        ("/docker/abc", "/docker/abcd", None),
        ("/docker/abc", "/", None),
        ("/", "/../elsewhere", None),
    ],
)
def test_what_a_mount_shows_of_a_group(root: str, group: str, own: str | None) -> None:
    (one,) = hierarchies(f"1 2 0:3 {root} /cg rw - cgroup2 c rw\n", f"0::{group}\n")
    assert one.own == own


def test_names_with_blanks() -> None:
    (one,) = hierarchies(r"1 2 0:3 / /a\040b rw - cgroup2 c rw" + "\n", "0::/\n")
    assert one.mount == "/a b"


def test_no_group_of_anybody() -> None:
    assert hierarchies("1 2 0:3 / / rw - ext4 /dev/vda rw\n", "0::/\n") == ()


def test_a_group_of_systemd_that_was_not_delegated_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "SYSTEMD", str(tmp_path))
    host = discover()
    delegated = [site for site in host.sites if site.version == 2]
    if delegated:
        pytest.skip("this very process runs in a delegated group")
    assert host.why == "systemd has delegated no control group to this process"
    assert host.hint is not None
    assert "Delegate=yes" in host.hint


def test_a_delegated_group_is_found_from_below(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    marks = {str(tmp_path / "unit"): b"1", str(tmp_path): b"0"}

    def getxattr(path: str, name: str) -> bytes:
        if name == "trusted.delegate" and path in marks:
            return marks[path]
        raise OSError

    monkeypatch.setattr(os, "getxattr", getxattr)
    inner = str(tmp_path / "unit" / "supervisor")
    assert module._delegated(inner, str(tmp_path)) == str(tmp_path / "unit")
    assert module._delegated(str(tmp_path / "other"), str(tmp_path)) is None


def test_the_groups_that_bound_a_process() -> None:
    groups = (("memory", "/a/b"), ("cpu,cpuacct", "/"), ("", "/c"), ("pids", "/not/mounted"))
    assert bounding(mounted(HYBRID), groups) == {
        "memory": ("/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a"),
        # The root bounds nothing.
        "cpu": (),
        "cpuacct": (),
        "": ("/sys/fs/cgroup/unified/c",),
    }


def test_groups_in_a_container_begin_at_what_is_mounted() -> None:
    mounts = mounted("1 2 0:3 /docker/abc /cg rw - cgroup cgroup rw,memory\n")
    assert bounding(mounts, (("memory", "/docker/abc/app"),)) == {"memory": ("/cg/app",)}
    assert bounding(mounts, (("memory", "/elsewhere"),)) == {}
