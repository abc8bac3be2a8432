"""What is mounted, by a mountinfo of proc_pid_mountinfo(5)."""

import os

import pytest

from cloister.mounts import Mount, of_process, parse

TEXT = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
41 22 254:16 /sites /srv rw,noatime shared:3 master:1 - xfs /dev/vdb rw,prjquota
42 41 254:17 / /srv/blog/with\\040space ro,relatime - ext4 /dev/vdc rw
44 22 254:19 / /srv rw - f2fs /dev/vde ro
45 22 0:40 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
"""


def test_each_line_is_a_mount() -> None:
    root, srv, space, over, group = parse(TEXT)
    assert root == Mount(
        "/", "ext4", "/dev/vda1", "/", os.makedev(254, 1), ("rw", "errors=remount-ro")
    )
    assert (srv.point, srv.root, srv.options) == ("/srv", "/sites", ("rw", "prjquota"))
    assert (space.point, space.writable) == ("/srv/blog/with space", False)
    assert (over.point, over.writable) == ("/srv", False)
    assert (group.kind, group.options) == ("cgroup", ("rw", "cpu", "cpuacct"))


def test_of_a_process_there_is_a_root() -> None:
    root = [one for one in of_process(os.getpid()) if one.point == "/"][-1]
    assert root.device


def test_of_none_there_is_nothing() -> None:
    with pytest.raises(OSError, match="No such file"):
        of_process(2**22 + 1)
