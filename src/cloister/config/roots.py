"""Paths in a folder of the host that is an application's root. Standard library only."""

from pathlib import Path

_LINKS = 40
"""How many are followed (path_resolution(7))."""


def in_root(rootfs: str, path: str) -> str | None:
    """The host's path of what ``path`` leads to where ``rootfs`` is the root, through links as
    they lead there; ``None`` where that is nothing.

    Good for questions and no guard: what a cell opens it resolves itself (openat2(2)). Blocks
    for the file system. Raises :class:`OSError` where something on the way cannot be looked at.
    """
    inside: list[str] = []
    parts = path.split("/")[::-1]
    links = 0
    while parts:
        part = parts.pop()
        if part in ("", "."):
            continue
        if part == "..":
            inside = inside[:-1]
            continue
        here = Path(rootfs, *inside, part)
        if not here.is_symlink():
            inside.append(part)
            continue
        links += 1
        if links > _LINKS:
            return None
        target = str(here.readlink())
        if target.startswith("/"):
            inside = []
        parts += target.split("/")[::-1]
    found = Path(rootfs, *inside)
    return str(found) if found.exists() else None
