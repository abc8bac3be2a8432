"""What still belongs to an id of the host: processes, System V objects, files.

Whoever gets an id gets all of that. An id is given to another application only when nothing is
found, and what is found is said when an id becomes free.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SHARED = ("/dev/shm", "/tmp", "/var/tmp")  # noqa: S108 - where anybody may leave something
_ENTRIES = 20_000
"""Files that are looked at in one place."""
_LISTED = 10
"""Things that are named; whoever cleans up finds the others beside them."""
_SYSTEM_V = {"shm": "shared memory", "sem": "semaphores", "msg": "message queue"}
"""sysvipc(7), the files of /proc/sysvipc."""


def find(uid: int, places: Iterable[str] = ()) -> tuple[str, ...]:
    """Descriptions of what the user id owns on this machine: at most ten.

    Files are looked for in ``places`` and where every user may write. Blocks for as long as
    reading these folders takes.
    """
    found: list[str] = []
    for one in _all(uid, (*places, *SHARED)):
        found.append(one)
        if len(found) == _LISTED:
            break
    return tuple(found)


def find_running(uid: int) -> tuple[str, ...]:
    """As :func:`find`, without files."""
    return (*_processes(uid), *_system_v(uid))


def _all(uid: int, places: Iterable[str]) -> Iterator[str]:
    yield from _processes(uid)
    yield from _system_v(uid)
    seen: set[str] = set()
    for place in places:
        if place not in seen:
            seen.add(place)
            yield from _files(uid, place)


def _processes(uid: int) -> Iterator[str]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            status = (folder / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        fields = dict(line.partition(":\t")[::2] for line in status.splitlines())
        # Real, effective, saved and file-system id: any of them will do for access.
        if str(uid) in fields.get("Uid", "").split() and not fields["State"].startswith("Z"):
            yield f"process {folder.name} ({fields['Name']})"


def _system_v(uid: int) -> Iterator[str]:
    for file, what in _SYSTEM_V.items():
        try:
            header, *lines = Path("/proc/sysvipc", file).read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            continue
        names = header.split()
        for line in lines:
            fields = dict(zip(names, line.split(), strict=False))
            if str(uid) in (fields.get("uid"), fields.get("cuid")):
                yield f"{what} {fields[names[1]]}"


def _files(uid: int, place: str) -> Iterator[str]:
    count = 0
    for folder, _, files in os.walk(place):
        for path in (folder, *(f"{folder}/{file}" for file in files)):
            count += 1
            if count > _ENTRIES:
                return
            try:
                owner = os.lstat(path).st_uid
            except OSError:
                continue
            if owner == uid:
                yield path
