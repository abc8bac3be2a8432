"""Whether a file system keeps bounds on projects, and what makes it do so. No I/O."""

import errno
import os
from dataclasses import dataclass

from cloister.cells.quotas.messages import Kind, Seen
from cloister.mounts import Mount

MEMORY = frozenset(
    {
        *(0x01021994, 0x858458F6, 0x958458F6),  # tmpfs, ramfs, hugetlbfs
        *(0x9FA0, 0x62656572, 0x62656570, 0x64626720, 0x74726163, 0x73636673),  # proc, sysfs, …
        *(0x27E0EB, 0x63677270, 0x1CD1, 0x19800202, 0xCAFE4A11),  # cgroup, devpts, mqueue, bpf
        *(0xF97CFF8C, 0x42494E4D, 0x65735543, 0x6E736673),  # selinuxfs, binfmt_misc, fusectl, nsfs
    }
)
"""``f_type`` of what is no disk (linux/magic.h): memory, which `memory` bounds, and the kernel's
own views."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a bound cannot be kept on a file system."""

    why: str
    cure: str


def takes_room(seen: Seen) -> bool:
    """Whether a place is on a disk, and something in it can grow."""
    return seen.kind is not Kind.OTHER and seen.file_system not in MEMORY


def obstacle(path: str, seen: Seen, mount: Mount | None, *, root: bool) -> Obstacle | None:
    """What keeps a bound from being kept at a place; ``root`` says whether this process may set
    bounds."""
    kind = "an unknown file system" if mount is None else mount.kind
    where = f"{path} ({kind})"
    if not root:
        return Obstacle(
            f"{where}: only root may set quotas of projects",
            "start it as root, or give the application memory of a size (`isolation.tmpfs`)",
        )
    if seen.refusal == errno.EPERM:
        return Obstacle(
            f"{where}: {os.strerror(seen.refusal)}",
            "start it with root's rights over the host, not only over a container",
        )
    if seen.accounted and seen.enforced:
        return None
    cure = _cure(mount, accounted=seen.accounted)
    if cure is None:
        return Obstacle(
            f"{where}: such file systems have no quotas of projects",
            "put what the application writes on an ext4 or XFS with the mount option `prjquota`, "
            "on a file system of its own, or into memory of a size (`isolation.tmpfs`)",
        )
    why = "counts what projects have and keeps nobody to a bound" if seen.accounted else None
    return Obstacle(f"{where}: {why or 'quotas of projects are not on'}", cure)


def _cure(mount: Mount | None, *, accounted: bool) -> str | None:
    if mount is None:
        return None
    device, point = mount.source, mount.point
    top = point == "/"
    boot = "start the machine with `rootflags=prjquota` on the kernel's command line"
    again = boot if top else f"unmount {point} and mount it with the option `prjquota`"
    match mount.kind:
        case "ext4" if accounted:
            return again
        case "ext4":
            how = "from another system, " if top else f"unmount {point}, "
            then = boot if top else "mount it with the option `prjquota` (in /etc/fstab)"
            return (
                f"{how}`tune2fs -O project,quota {device}`, then {then}; "
                "the kernel needs CONFIG_QFMT_V2"
            )
        case "xfs":
            return f"{again}: remounting is not enough; the kernel needs CONFIG_XFS_QUOTA"
        case "f2fs":
            return (
                f"make {device} anew by `mkfs.f2fs -O extra_attr,project_quota,quota`, and mount "
                "it with the option `prjquota`"
            )
    return None
