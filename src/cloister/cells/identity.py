"""Which ids of the host an application runs under."""

import contextlib
import grp
import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.cells.leftovers import find, find_running
from cloister.cells.stored import StoredFile
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity, IdRange

SUBORDINATE = ("/etc/subuid", "/etc/subgid")
"""subuid(5), subgid(5): ``name:first:count`` on each line."""

RESERVED_NAME = "cloister"
"""A range that these files give to this name is Cloister's own."""


FREED = "freed."
"""Before the name of an application that is configured no more. Names have no dot."""
_LEASED = "run."


@dataclass(frozen=True, slots=True)
class Freed:
    """An id that no application has any more."""

    name: str
    uid: int
    leftovers: tuple[str, ...]
    """What still belongs to it (:func:`cloister.cells.leftovers.find`)."""


class IdentityStore:
    """Remembers on disk which application has which host ids.

    An id that became free is kept for its name, and given to another one only where no other
    is left, and only once nothing on the machine belongs to it any more.

    One id is user and group id alike. The range's first id is the door's and is never
    given to an application. An ordinary user has no ids to give: every application then
    runs under the caller's own, apart from the others by its namespaces only.

    All methods block for the time of a few small file operations. Several processes may
    use one store.
    """

    def __init__(self, path: str, ids: IdRange, *, rootless: bool | None = None) -> None:
        """``path`` is a file, made with its folder when the first id is given."""
        self._file = StoredFile(
            path,
            "store of identities",
            "restore it, or remove it while nothing runs: every application gets new ids",
        )
        self._ids = ids
        self._rootless = os.geteuid() != 0 if rootless is None else rootless

    @property
    def door(self) -> HostIdentity:
        """The door's ids."""
        return self._own() if self._rootless else _identity(self._ids.first)

    def acquire(self, name: str) -> HostIdentity:
        """The ids of the application ``name``: the same as ever, or the lowest free ones.

        Raises :class:`CloisterError` when the range is used up, when a user of the host
        has ids in it, or when the store cannot be read or written.
        """
        if self._rootless:
            return self._own()
        with self._locked() as identities:
            if name not in identities:
                _refuse_foreign(self._ids)
                known = identities.pop(FREED + name, None)
                identities[name] = self._free(identities) if known is None else known
                self._write(identities)
            return _identity(identities[name])

    def retain(self, names: Iterable[str], places: Iterable[str] = ()) -> tuple[Freed, ...]:
        """Frees the ids of all applications but these, and says what belongs to them still.

        ``places`` are folders in which files of theirs may be. Blocks while they are read.
        """
        if self._rootless:
            return ()
        kept = set(names)
        with self._locked() as identities:
            gone = [name for name in identities if "." not in name and name not in kept]
            freed = [(name, identities.pop(name)) for name in gone]
            identities.update({FREED + name: number for name, number in freed})
            if freed:
                self._write(identities)
        places = tuple(places)
        return tuple(Freed(name, number, find(number, places)) for name, number in freed)

    def peek(self, name: str) -> HostIdentity:
        """What :meth:`acquire` would give, without giving it. Raises as that does."""
        if self._rootless:
            return self._own()
        identities = self._read()
        known = identities.get(name, identities.get(FREED + name))
        return _identity(self._free(identities) if known is None else known)

    def release(self, name: str) -> None:
        """Frees the ids of ``name``; they are kept for it. Unknown names are ignored."""
        if self._rootless:
            return
        with self._locked() as identities:
            number = identities.pop(name, None)
            if number is not None:
                identities[FREED + name] = number
                self._write(identities)

    @contextlib.contextmanager
    def lease(self) -> Iterator[HostIdentity]:
        """Ids for as long as the block runs, for something that has no lasting name: the
        highest free ones that nothing belongs to, so that no application gets them next.

        Leases of processes that were killed are freed by the next one.
        """
        if self._rootless:
            yield self._own()
            return
        with self._locked() as identities:
            # No application is called so: names of applications have no dot.
            for name in [name for name in identities if name.startswith(_LEASED)]:
                if not Path("/proc", name.split(".")[1]).exists():
                    del identities[name]
            _refuse_foreign(self._ids)
            leased = self._unused(identities)
            # One process may hold several leases; the id tells them apart.
            name = f"{_LEASED}{os.getpid()}.{leased}"
            identities[name] = leased
            self._write(identities)
        try:
            yield _identity(leased)
        finally:
            with self._locked() as identities:
                identities.pop(name, None)
                self._write(identities)

    def _own(self) -> HostIdentity:
        return HostIdentity(os.geteuid(), os.getegid())

    def _free(self, identities: dict[str, int]) -> int:
        """The lowest id that nobody has had; else one that became free, and is taken away
        from the name that it was kept for."""
        used = set(identities.values())
        for candidate in range(self._ids.first + 1, self._ids.last + 1):
            if candidate not in used:
                return candidate
        left: list[str] = []
        for name in [name for name in identities if name.startswith(FREED)]:
            found = find(identities[name])
            if not found:
                return identities.pop(name)
            left.append(f"{found[0]} still belongs to {identities[name]}")
        taken = sum(1 for name in identities if not name.startswith(FREED))
        why = f"{taken} applications have one each, and the first is the door's"
        raise CloisterError(
            f"no id is free in {self._ids.first}-{self._ids.last}",
            why="; ".join([why, *left[:3]]),
            hint='widen `ids` in [cloister], for example ids = "500000-565535"'
            + (", or remove what is left of former applications" if left else ""),
        )

    def _unused(self, identities: dict[str, int]) -> int:
        """The highest id that nobody has and nothing that runs belongs to."""
        used = set(identities.values())
        for candidate in range(self._ids.last, self._ids.first, -1):
            if candidate not in used and not find_running(candidate):
                return candidate
        return self._free(identities)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, int]]:
        """The stored identities, which no other process changes meanwhile."""
        with self._file.locked():
            yield self._read()

    def _read(self) -> dict[str, int]:
        identities: dict[str, int] = {}
        for name, number in self._file.read().items():
            if type(number) is not int or number <= 0 or number in identities.values():
                raise self._file.unusable("is damaged", f"{name!r} has no id of its own")
            identities[name] = number
        # After a change of the range every application outside it gets new ids.
        inside = range(self._ids.first + 1, self._ids.last + 1)
        return {name: number for name, number in identities.items() if number in inside}

    def _write(self, identities: dict[str, int]) -> None:
        self._file.write(identities)


def _identity(number: int) -> HostIdentity:
    return HostIdentity(number, number)


def _refuse_foreign(ids: IdRange) -> None:
    """Raises when the host has given ids of the range to somebody else."""
    hint = "choose another range for `ids` in [cloister]"
    whose = f"the id range {ids.first}-{ids.last} is not free"
    inside = range(ids.first, ids.last + 1)
    for user in pwd.getpwall():
        if user.pw_uid in inside:
            raise CloisterError(whose, why=f"user {user.pw_name} is {user.pw_uid}", hint=hint)
    for group in grp.getgrall():
        if group.gr_gid in inside:
            raise CloisterError(whose, why=f"group {group.gr_name} is {group.gr_gid}", hint=hint)
    for path in SUBORDINATE:
        for name, first, count in _subordinate(path):
            last = first + count - 1
            if name != RESERVED_NAME and first <= ids.last and ids.first <= last:
                raise CloisterError(
                    whose,
                    why=f"{path} gives {first}-{last} to {name}",
                    hint=f"{hint}, or reserve one by a line `{RESERVED_NAME}:FIRST:COUNT` there",
                )


def _subordinate(path: str) -> Iterator[tuple[str, int, int]]:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        match line.strip().split(":"):
            case [name, first, count] if first.isdecimal() and count.isdecimal():
                yield name, int(first), int(count)


def subordinate_ids(path: str, uid: int) -> list[range]:
    """The ids that subuid(5) or subgid(5) give to the user ``uid``, named there either way."""
    names = {str(uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    return [
        range(first, first + count) for name, first, count in _subordinate(path) if name in names
    ]
