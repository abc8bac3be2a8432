"""Which file systems are mounted where: proc_pid_mountinfo(5)."""

import os
from dataclasses import dataclass

from cloister import proc


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount."""

    point: str
    kind: str
    """The file system's kind, for example ``ext4``."""
    source: str = ""
    """Its device, where it has one."""
    root: str = "/"
    """Which folder of the file system is mounted."""
    device: int = 0
    """As ``st_dev`` of stat(2), but for file systems that are one per folder (btrfs)."""
    options: tuple[str, ...] = ()
    """The file system's own, the same at each of its mounts."""
    writable: bool = True


def parse(mountinfo: str) -> tuple[Mount, ...]:
    """From the file's text; in the order in which they cover each other."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        _, _, device, root, point, settings, *_ = before.split(" ")
        kind, source, options = after.split(" ", 2)
        major, minor = device.split(":")
        of_all = tuple(options.split(","))
        found.append(
            Mount(
                proc.unescaped(point),
                kind,
                proc.unescaped(source),
                proc.unescaped(root),
                os.makedev(int(major), int(minor)),
                of_all,
                writable="ro" not in (*settings.split(","), *of_all),
            )
        )
    return tuple(found)


def of_process(pid: int) -> tuple[Mount, ...]:
    """Those of a process's view. Raises :class:`OSError` where they may not be seen."""
    return parse(proc.text(pid, "mountinfo"))
