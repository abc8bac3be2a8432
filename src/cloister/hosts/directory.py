"""Hosts directories for people: what is in one, whether it serves, and how a name is added."""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cloister.hosts import lookup
from cloister.hosts.hashed import LENGTH
from cloister.hosts.hostname import canonical_host_pattern, canonical_hostname
from cloister.hosts.listening import file_id, listening_files
from cloister.model.errors import CloisterError, HostnameError, NotPermittedError, UsageError


@dataclass(frozen=True, slots=True)
class DoorUser:
    """Whom the door has become: what it may reach is what its user may."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Host:
    """One name, or one entry, and what becomes of its clients."""

    name: str | None
    """``None`` for a folder whose name is a hash."""
    entry: str | None
    """The entry that decides; ``None`` where there is none."""
    owner: str | None
    """Of the entry."""
    kind: str | None
    """``relay`` or ``handoff``, where it serves."""
    socket: str | None
    send_proxy: str | None
    state: str
    """``serving``, ``refused``, or ``unknown`` where this user may not look."""
    problem: str | None
    """Why it does not serve."""
    passed_over: tuple[str, ...] = ()
    """What was looked at before, and why it does not count."""


class HostsDirectory:
    """One hosts directory, looked at afresh by every method."""

    def __init__(self, path: Path, *, hashed: bool = False, door: DoorUser | None = None) -> None:
        """``door`` is asked for only where this process is root, which may try as that user."""
        if not path.is_dir():
            raise UsageError(
                f"there is no hosts directory {path}", hint="name it by --directory, or make it"
            )
        self.path = path
        self._hashed = hashed
        self._door = door

    def check(self, name: str | None, protocol: bytes = b"") -> Host:
        """What serves the clients of ``name``, or those that send none.

        Raises :class:`HostnameError`.
        """
        canonical = None if name is None else canonical_hostname(name)
        answer = lookup.look_up(self.path, canonical, protocol, hashed=self._hashed)
        return self._host(canonical, answer, listening_files())

    def hosts(self) -> Iterator[Host]:
        """Every entry, in alphabetical order."""
        listening = listening_files()
        for path in sorted(self.path.iterdir()):
            yield self._entry(path.name, listening)

    def some(self, limit: int) -> tuple[tuple[Host, ...], bool]:
        """At most ``limit`` entries, in alphabetical order, and whether there are more: which
        ones is then the file system's choice. For those who look often and at directories of
        any size. Raises :class:`OSError` where this user may not look."""
        with os.scandir(self.path) as found:
            names = [one.name for one in islice(found, limit + 1)]
        listening = listening_files()
        hosts = []
        for name in sorted(names[:limit]):
            with suppress(FileNotFoundError):  # removed meanwhile
                hosts.append(self._entry(name, listening))
        return tuple(hosts), len(names) > limit

    def protocols(self, host: Host, limit: int) -> tuple[str, ...]:
        """The protocols that have a folder of their own in a host's, as it is called."""
        return () if host.entry is None else lookup.protocols(self.path, host.entry, limit)

    def _entry(self, entry: str, listening: frozenset[tuple[int, int]]) -> Host:
        owner = _user_name((self.path / entry).lstat().st_uid)
        if self._hashed and entry != lookup.DEFAULT:
            name, problem = None, None
            if len(entry) != LENGTH:
                problem = "no hash is called so: no client can ask for it"
        else:
            name, problem = _asked_for(entry)
        if problem is not None:
            return Host(entry, entry, owner, None, None, None, "refused", problem)
        shared = name is not None and (name == lookup.DEFAULT or name.startswith("*."))
        answer = lookup.look_up_entry(self.path, entry, shared=shared)
        return self._host(name, answer, listening, owner=owner, entry=entry)

    def _host(
        self,
        name: str | None,
        answer: lookup.Answer,
        listening: frozenset[tuple[int, int]],
        *,
        owner: str | None = None,
        entry: str | None = None,
    ) -> Host:
        entry = entry or answer.entry
        if owner is None and entry is not None:
            owner = _user_name((self.path / entry).lstat().st_uid)
        serving = answer.serving
        if serving is None:
            return Host(
                name, entry, owner, None, None, None, "refused", answer.refused, answer.passed_over
            )
        state, problem = self._state(serving, listening)
        return Host(
            name,
            entry,
            owner,
            serving.kind.value,
            str(serving.socket),
            serving.send_proxy,
            state,
            problem,
            answer.passed_over,
        )

    def _state(
        self, serving: lookup.Serving, listening: frozenset[tuple[int, int]]
    ) -> tuple[str, str | None]:
        target = serving.target
        device = os.major(target.st_dev), os.minor(target.st_dev)
        if file_id(target.st_ino, *device) not in listening:
            return "refused", f"nobody listens on {serving.socket}"
        if self._door is None or os.geteuid() != 0:
            return "serving", None
        # The door's way begins at the directory, which it was given open.
        root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _acting_as(self._door):
                if os.access(serving.resolved, os.W_OK, dir_fd=root, effective_ids=True):
                    return "serving", None
        finally:
            os.close(root)
        user = _user_name(self._door.uid)
        mode = stat.filemode(target.st_mode)
        return "refused", f"the door's user {user} may not connect to {serving.socket} ({mode})"

    def add(self, name: str, *, owner: DoorUser | None = None, mode: int = 0o755) -> Path:
        """Makes the folder of a hostname, of ``*.parent`` or of ``_default``; returns its path.

        Args:
            name: in any form; the folder gets the canonical one.
            owner: to whom it is given, which takes root; ``None`` for this process's user.
            mode: of the folder.

        Raises :class:`HostnameError`, :class:`NotPermittedError` for a name that would not
        count, :class:`CloisterError` for one that is taken.
        """
        canonical = name if name == lookup.DEFAULT else canonical_host_pattern(name)
        self._expect_to_count(canonical, os.geteuid() if owner is None else owner.uid)
        path = self.path / lookup.folder_name(canonical, hashed=self._hashed)
        try:
            # Nobody else's until its owner and mode are right.
            path.mkdir(mode=0o700)
        except FileExistsError as error:
            taken = _user_name(path.lstat().st_uid)
            raise CloisterError(
                f"{canonical} is taken: {path} is there and belongs to {taken}",
                hint=f"see `cloister hosts check --directory {self.path} {canonical}`",
            ) from error
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if owner is not None:
                os.fchown(folder, owner.uid, owner.gid)
            os.fchmod(folder, mode)
        except OSError:
            path.rmdir()
            raise
        finally:
            os.close(folder)
        return path

    def _expect_to_count(self, canonical: str, uid: int) -> None:
        if not (canonical == lookup.DEFAULT or canonical.startswith("*")):
            return
        if canonical == "*":
            raise UsageError(
                'a folder for every other name is called "_default"', hint="add _default"
            )
        owner = self.path.stat().st_uid
        if uid not in {0, owner}:
            raise NotPermittedError(
                f"{canonical} would not count",
                why="it serves other people's names, so the door takes it only from root and "
                f"from the owner of {self.path}, {_user_name(owner)}",
                hint=f"ask {_user_name(owner)} to make it, and to give you the folder it links to",
            )


def _asked_for(entry: str) -> tuple[str | None, str | None]:
    """The name that a folder serves, and why a client can ask for none."""
    if entry == lookup.DEFAULT:
        return entry, None
    try:
        canonical = canonical_host_pattern(entry)
    except HostnameError as error:
        return None, f"no client can ask for it: {error.why}"
    if canonical != entry or canonical == "*":
        called = lookup.DEFAULT if canonical == "*" else canonical
        return None, f"no client can ask for it: the folder must be called {called}"
    return entry, None


@contextmanager
def _acting_as(user: DoorUser) -> Iterator[None]:
    groups = os.getgroups()
    gid = os.getegid()
    os.setgroups([])
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def find_user(text: str) -> DoorUser:
    """The user of a name or a number. Raises :class:`UsageError`."""
    try:
        found = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except (KeyError, OverflowError) as error:
        if text.isdecimal() and int(text) < 0xFFFFFFFF:
            return DoorUser(int(text), int(text))
        raise UsageError(f'there is no user "{text}"', hint="name one of /etc/passwd") from error
    return DoorUser(found.pw_uid, found.pw_gid)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
