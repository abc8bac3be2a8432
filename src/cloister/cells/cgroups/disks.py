"""Which disk a path is on, and which disks know weights."""

import os
import stat
from pathlib import Path

from cloister.model.errors import CloisterError

_BLOCK = Path("/sys/dev/block")


def disk_of(path: str) -> str:
    """``MAJOR:MINOR`` of the whole disk that ``path`` is on, or is.

    Limits are for whole disks: the kernel refuses parts of them. Raises
    :class:`CloisterError` for a path that is on no disk.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        raise CloisterError(
            f"the disk of {path} cannot be found",
            why=os.strerror(error.errno or 0),
            hint="correct `path` in `io-max`",
        ) from error
    device = found.st_rdev if stat.S_ISBLK(found.st_mode) else found.st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    entry = _BLOCK / number
    if not entry.exists():
        raise CloisterError(
            f"{path} is on no disk",
            why="its file system is memory, the network's, or made of several disks",
            hint="name the device file of the disk in `io-max`",
        )
    if (entry / "partition").exists():
        return (entry.resolve().parent / "dev").read_text(encoding="ascii").strip()
    return number


def knows_weights(version: int, root: str) -> bool:
    """Whether any disk heeds weights: its scheduler is bfq, or io.cost is on for it.

    ``root`` is the folder of the hierarchy's first group.
    """
    for scheduler in Path("/sys/block").glob("*/queue/scheduler"):
        if "[bfq]" in scheduler.read_text(encoding="ascii"):
            return True
    if version == 1:
        return False
    try:
        return "enable=1" in Path(root, "io.cost.qos").read_text(encoding="ascii")
    except OSError:
        return False
