"""Which file systems keep bounds, and what is said of the others."""

import errno

import pytest

from cloister.cells.quotas.messages import DiskUse, Kind, Seen
from cloister.cells.quotas.offered import obstacle, takes_room
from cloister.mounts import Mount

EXT4, TMPFS = 0xEF53, 0x01021994


def seen(
    *,
    kind: Kind = Kind.FOLDER,
    accounted: bool = False,
    enforced: bool = False,
    refusal: int = errno.ENOSYS,
    file_system: int = EXT4,
) -> Seen:
    nothing = DiskUse(0, 0, 0, 0)
    return Seen(kind, 1, 2, file_system, 0, False, accounted, enforced, refusal, nothing)


def mount(kind: str, point: str = "/srv") -> Mount:
    return Mount(point, kind, "/dev/vdb", writable=True)


def test_where_it_is_kept_nothing_is_in_the_way() -> None:
    state = seen(accounted=True, enforced=True, refusal=0)
    assert obstacle("/srv/x", state, mount("ext4"), root=True) is None


@pytest.mark.parametrize(
    ("kind", "point", "words"),
    [
        ("ext4", "/srv", ("unmount /srv", "tune2fs -O project,quota /dev/vdb", "prjquota")),
        ("ext4", "/", ("from another system", "rootflags=prjquota")),
        ("xfs", "/srv", ("unmount /srv and mount it with the option `prjquota`", "remounting")),
        ("xfs", "/", ("rootflags=prjquota",)),
        ("f2fs", "/srv", ("mkfs.f2fs -O extra_attr,project_quota,quota",)),
        ("btrfs", "/srv", ("on a file system of its own", "isolation.tmpfs")),
        ("overlay", "/", ("ext4 or XFS with the mount option `prjquota`",)),
    ],
)
def test_each_file_system_has_its_own_cure(kind: str, point: str, words: tuple[str, ...]) -> None:
    found = obstacle("/srv/x", seen(), mount(kind, point), root=True)
    assert found is not None
    assert f"/srv/x ({kind})" in found.why
    for word in words:
        assert word in found.cure


def test_counting_alone_is_told_apart() -> None:
    found = obstacle("/srv/x", seen(accounted=True, refusal=0), mount("ext4"), root=True)
    assert found is not None
    assert "keeps nobody to a bound" in found.why
    assert "tune2fs" not in found.cure


def test_an_ordinary_user_is_told_that_it_takes_root() -> None:
    found = obstacle("/srv/x", seen(accounted=True, enforced=True), mount("ext4"), root=False)
    assert found is not None
    assert "only root may set quotas" in found.why


def test_root_of_a_container_is_told_apart() -> None:
    found = obstacle("/srv/x", seen(refusal=errno.EPERM), mount("xfs"), root=True)
    assert found is not None
    assert "not only over a container" in found.cure


def test_an_unknown_file_system_is_said_to_be_that() -> None:
    found = obstacle("/srv/x", seen(), None, root=True)
    assert found is not None
    assert "an unknown file system" in found.why


def test_memory_and_devices_take_no_room_on_a_disk() -> None:
    assert takes_room(seen())
    assert takes_room(seen(kind=Kind.FILE))
    assert not takes_room(seen(kind=Kind.OTHER))
    assert not takes_room(seen(file_system=TMPFS))
