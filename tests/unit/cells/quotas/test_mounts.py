"""Which file system a path is on, by a mountinfo of proc_pid_mountinfo(5)."""

from cloister.cells.quotas import mounts
from cloister.mounts import parse

TEXT = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
30 22 0:25 / /run rw,nosuid,nodev shared:2 - tmpfs tmpfs rw,size=804424k
41 22 254:16 / /srv rw,noatime shared:3 master:1 - xfs /dev/vdb rw,prjquota
42 41 254:17 / /srv/blog/with\\040space ro,relatime - ext4 /dev/vdc rw
43 41 254:18 / /srv/blog/more rw - ext4 /dev/vdd rw
44 22 254:19 / /srv rw - f2fs /dev/vde ro
"""
ROOT, RUN, SRV, SPACE, MORE, OVER = parse(TEXT)


def test_the_innermost_mount_counts_and_of_several_the_last() -> None:
    before = (ROOT, RUN, SRV, SPACE, MORE)
    assert mounts.of("/home", before) == ROOT
    assert mounts.of("/srvx", before) == ROOT
    assert mounts.of("/srv/blog", before) == SRV
    assert mounts.of("/srv/blog/more/x", before) == MORE
    assert mounts.of("/srv/blog", (*before, OVER)) == OVER


def test_what_is_mounted_below_may_be_written_to() -> None:
    assert mounts.below("/srv/blog", (ROOT, RUN, SRV, SPACE, MORE)) == ("/srv/blog/more",)
    assert mounts.below("/srv/blog/more", (ROOT, MORE)) == ()
