"""What a bound on disks needs of an application. No I/O."""

from collections.abc import Iterable

from cloister.model.app import App
from cloister.model.fences import FilterProfile
from cloister.model.system_calls import expand

FILE_SHARE = 16 * 1024
"""Bytes of ``disk`` for which one file is allowed: of so many an ext4 has one inode, too."""
FEWEST_FILES = 1024
CHANGING_CALLS = frozenset({"file_setattr", "ioctl"})
"""By which an owner gives a file to another project."""


def writable_places(app: App) -> tuple[str, ...]:
    """What of the host's file system an application may write to, as the configuration has it."""
    places = [bind.source for bind in app.binds if bind.writable]
    root = app.isolation.rootfs
    if root is not None and root.writable:
        places.append(root.path)
    return tuple(dict.fromkeys(places))


def overlap(places: Iterable[str], others: Iterable[str]) -> str | None:
    """The inner one of two paths, one of each, of which one is, or lies in, the other. All are
    absolute and in their shortest form."""
    there = [(path, f"{path.rstrip('/')}/") for path in others]
    for one in places:
        inside = f"{one.rstrip('/')}/"
        for other, beside in there:
            if inside.startswith(beside):
                return one
            if beside.startswith(inside):
                return other
    return None


def is_bounded(app: App) -> bool:
    """Whether there is a bound on what it may have on disks."""
    return app.limits.disk is not None or app.limits.disk_files is not None


def files_allowed(app: App) -> int:
    """How many files, folders and links it may have on each file system; 0 is no bound."""
    limits = app.limits
    if limits.disk_files is not None:
        return limits.disk_files
    return 0 if limits.disk is None else max(FEWEST_FILES, limits.disk // FILE_SHARE)


def keeps_projects(app: App) -> bool:
    """Whether the application's filter has to keep it from changing the project of its files.
    In a user namespace of its own the kernel does (fileattr_set_prepare(), fs/file_attr.c)."""
    return is_bounded(app) and not app.isolation.namespaces.user


def way_out(app: App) -> tuple[str, str] | None:
    """How an application could have more on disks than its bound; why, and what to do."""
    if not is_bounded(app):
        return None
    if not app.isolation.namespaces.mount:
        return (
            "without a mount namespace it writes wherever its user may",
            "give it a mount namespace: leave out `mount = false`",
        )
    if not keeps_projects(app):
        return None
    if app.fences.profile is FilterProfile.NONE:
        opened = "it has no filter of system calls"
    else:
        added = {call for name in app.fences.allow for call in expand(name)}
        if not added & CHANGING_CALLS:
            return None
        opened = f"its fences allow {' and '.join(sorted(added & CHANGING_CALLS))}"
    return (
        "in the host's user namespace the owner of a file may take it out of the bound, "
        f"and {opened}",
        "give it a user namespace of its own: leave out `user = false`; or have the filter "
        "refuse that call",
    )
