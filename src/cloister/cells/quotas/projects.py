"""Remembers which application has which project, and where."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloister.cells.stored import StoredFile
from cloister.model.errors import CloisterError
from cloister.model.isolation import IdRange

FREED = "freed."
"""Before the name of an application that has no bound any more. Names have no dot."""
PASSING = "run."
"""Before the process id of a ``cloister run``."""
LISTED = (("/etc/projid", 1), ("/etc/projects", 0))
"""projid(5), projects(5): files with projects of others, and in which field they stand."""


@dataclass(frozen=True, slots=True)
class Record:
    """One application's project."""

    project: int
    places: dict[str, int] = field(default_factory=dict)
    """Paths without links where it has, or may have, files; each with the number of the inode
    that was there when all below it belonged to the project, 0 before that."""


class ProjectStore:
    """Project numbers from the range that ids are from: they are numbers of their own, and
    nobody else's who leaves that range alone.

    All methods block for the time of a few small file operations. Several processes may use
    one store. Each raises :class:`CloisterError` where the store cannot be used.
    """

    def __init__(self, path: str, ids: IdRange) -> None:
        """``path`` is a file, made with its folder when the first project is given."""
        self.ids = ids
        self._file = StoredFile(
            path, "store of projects", "restore it, or remove it while nothing runs"
        )

    def get(self, name: str) -> Record | None:
        """What an application has; what it had last where it has nothing now."""
        records = self._read()
        return records.get(name) or records.get(FREED + name)

    def names(self) -> tuple[str, ...]:
        """Who has a project now."""
        return tuple(name for name in self._read() if not name.startswith(FREED))

    def candidates(self, name: str) -> Iterator[int]:
        """Projects for an application: that which it has, or had, else the others from the
        lowest on, those that were somebody's last."""
        records = self._read()
        own = records.get(name) or records.get(FREED + name)
        if own is not None:
            yield own.project
        taken = {one.project for one in records.values()} | listed(LISTED)
        for number in range(self.ids.first + 1, self.ids.last + 1):
            if number not in taken:
                yield number
        for other, record in records.items():
            if other.startswith(FREED) and other != FREED + name:
                yield record.project

    def put(self, name: str, record: Record) -> bool:
        """Remember it; false where the project is another one's by now."""
        with self._file.locked():
            records = self._read()
            for other, known in list(records.items()):
                if known.project != record.project or other == name:
                    continue
                if not other.startswith(FREED):
                    return False
                del records[other]
            records[name] = record
            self._write(records)
        return True

    def free(self, name: str) -> None:
        """It has no bound any more; the project is kept for it."""
        with self._file.locked():
            records = self._read()
            record = records.pop(name, None)
            if record is not None:
                # What is made there from now on need not belong to it.
                places = dict.fromkeys(record.places, 0)
                records[FREED + name] = replace(record, places=places)
                self._write(records)

    def forget(self, name: str) -> None:
        """It has no project any more."""
        with self._file.locked():
            records = self._read()
            if records.pop(name, None) is not None:
                self._write(records)

    def used_up(self) -> CloisterError:
        """The error where none of the candidates will do."""
        return CloisterError(
            f"no project is free in {self.ids.first}-{self.ids.last}",
            why="each of them has files on the disks, or is listed in /etc/projid",
            hint='widen `ids` in [cloister], for example ids = "500000-565535"',
        )

    def _read(self) -> dict[str, Record]:
        records: dict[str, Record] = {}
        for name, stored in self._file.read().items():
            match stored:
                case {"project": int(project), "places": dict(places)}:
                    if all(isinstance(inode, int) for inode in places.values()):
                        records[name] = Record(project, places)
                        continue
            raise self._file.unusable("is damaged", f"{name!r} has no project")
        # After a change of the range everybody gets another one.
        inside = range(self.ids.first + 1, self.ids.last + 1)
        return {name: one for name, one in records.items() if one.project in inside}

    def _write(self, records: dict[str, Record]) -> None:
        self._file.write(
            {
                name: {"project": one.project, "places": dict(one.places)}
                for name, one in records.items()
            }
        )


def listed(files: Iterable[tuple[str, int]]) -> set[int]:
    """The projects that such files name."""
    found = set()
    for path, field_number in files:
        try:
            lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.partition("#")[0].strip().split(":")
            if len(fields) == 2 and fields[field_number].isdecimal():
                found.add(int(fields[field_number]))
    return found
