"""The host that this process runs on."""

import grp
import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from cloister import proc, unix_diag
from cloister.diagnose.facts import (
    Attempt,
    Credentials,
    Limit,
    Place,
    Process,
    SocketType,
    TcpListener,
    Unit,
    UnixSocket,
    Walk,
)
from cloister.diagnose.probes import logs, networks, paths, processes, stand_in, units
from cloister.mounts import Mount

T = TypeVar("T")

_TEXT_LIMIT = 1024 * 1024
"""Bytes of a file that is read."""


class HostProbes:
    """See :class:`cloister.diagnose.probes.protocol.Probes`. Use as a context manager: it
    keeps one child for each identity that it connects as.

    Answers are kept, so that twenty rules cost one look; a new diagnosis takes a new instance.
    """

    def __init__(self, log_files: tuple[str, ...] = ()) -> None:
        """``log_files`` are read for denials as well, whatever they are called."""
        self._log_files = log_files
        self._unseen: dict[str, None] = {}
        self._stand_ins: dict[tuple[Credentials, int | None], stand_in.StandIn] = {}
        own = processes.process(os.getpid())
        assert own is not None  # noqa: S101 - it is us
        self._own = own
        self._kept: dict[tuple[object, ...], object] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._stand_ins.values():
            child.close()
        self._stand_ins.clear()

    @property
    def own(self) -> Process:
        """The process that looks."""
        return self._own

    def walk(self, path: str, view: Process | None = None) -> Walk:
        """A path as ``view`` sees it."""
        return paths.walk(self._root(view), path)

    def process(self, pid: int) -> Process | None:
        """One process."""
        return self._once(("process", pid), lambda: processes.process(pid))

    def named(self, name: str) -> tuple[Process, ...]:
        """Every process of this ``comm``."""
        found = (self.process(pid) for pid in proc.pids() if processes.process_name(pid) == name)
        return tuple(sorted((one for one in found if one), key=lambda one: one.pid))

    def mounts(self, view: Process | None = None) -> tuple[Mount, ...]:
        """The mounts of a view."""
        return processes.mounts((view or self._own).pid)

    def account(self, uid: int) -> tuple[str, frozenset[int]] | None:
        """A user's name and all groups that the group database gives him."""
        return self._once(("account", uid), lambda: _account(uid))

    def group_name(self, gid: int) -> str:
        """The group's name, or its number."""
        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)

    def connect(
        self,
        place: Place,
        who: Credentials,
        view: Process | None = None,
        *,
        send: bytes = b"",
        long_path: bool = False,
    ) -> Attempt | None:
        """Connects as somebody, in a child."""
        if not stand_in.possible(who, view, self._own):
            self._note("a connection as another user", "run as root")
            return None
        if view is not None and (view.label or None) != (self._own.label or None):
            self._note(
                f"a connection under the profile {view.label or 'unconfined'} of {view}",
                "look into the audit log, as this command did",
            )
        key = (who, None if view is None else view.pid)
        if key not in self._stand_ins:
            self._stand_ins[key] = stand_in.StandIn(who, view)
        attempt = self._stand_ins[key].connect(place, send, long_path=long_path)
        if attempt.failure and attempt.error > 0:
            self._note(f"a connection in the view of {view or 'another user'}", attempt.failure)
            return None
        return attempt

    def unix_sockets(self) -> tuple[UnixSocket, ...]:
        """Every bound Unix socket of this network namespace."""
        return self._once(("unix_sockets",), self._unix_sockets)

    def _unix_sockets(self) -> tuple[UnixSocket, ...]:
        show = unix_diag.SHOW_NAME | unix_diag.SHOW_VFS | unix_diag.SHOW_QUEUE
        try:
            found = [_unix_socket(answer) for answer in unix_diag.dump(unix_diag.ANY_STATE, show)]
        except OSError as error:
            self._note("the kernel's list of Unix sockets", f"unix_diag: {error.strerror}")
            return ()
        return tuple(one for one in found if one is not None)

    def tcp_listeners(self, view: Process | None = None) -> tuple[TcpListener, ...]:
        """Every listening TCP socket of a view's network."""
        return networks.listeners((view or self._own).pid)

    def listening_elsewhere(self, place: Place) -> tuple[Process, ...]:
        """One process of each other network namespace in which something listens there."""
        found = self._once(
            ("networks",), lambda: processes.networks(besides=self._own.namespaces.network)
        )
        there = (pid for pid in found if networks.listens(pid, place))
        return tuple(one for one in map(self.process, there) if one)

    def holders(self, inode: int) -> tuple[Process, ...]:
        """Who has this socket open."""
        pids = self._once(("holders",), processes.socket_holders).get(inode, ())
        if not pids and self._own.credentials.uid != 0:
            self._note("who holds which socket", "run as root")
        return tuple(one for one in map(self.process, pids) if one)

    def open_files(self, pid: int) -> Limit | None:
        """Descriptors and their limit."""
        found = processes.open_files(pid)
        if found is not None and found.used is None:
            self._note(f"the open files of process {pid}", "run as root")
        return found

    def user_processes(self, pid: int) -> Limit | None:
        """The threads of the process's user and their limit."""
        return processes.user_processes(pid)

    def group_processes(self, pid: int) -> tuple[str, Limit] | None:
        """The tightest control group above a process."""
        return processes.group_processes(pid)

    def setting(self, name: str) -> str | None:
        """A file below /proc/sys."""
        text = self.read(f"/proc/sys/{name}")
        return text and text.strip()

    def units(self) -> tuple[Unit, ...]:
        """The socket and service units of systemd."""
        return self._once(("units",), units.units)

    def denials(self) -> tuple[str, ...]:
        """Lines in which a security module refused something."""
        return self._once(("denials",), self._denials)

    def _denials(self) -> tuple[str, ...]:
        found, closed = logs.denials(self._log_files)
        if closed:
            self._note("the audit and kernel logs", "run as root, or as a member of group adm")
        return found

    def read(self, path: str, view: Process | None = None) -> str | None:
        """A small text file."""
        try:
            with Path(f"{self._root(view).rstrip('/')}{path}").open("rb") as file:
                return file.read(_TEXT_LIMIT).decode(errors="replace")
        except PermissionError:
            self._note(path, "run as root")
            return None
        except OSError:
            return None

    def names(self, folder: str) -> tuple[str, ...]:
        """What a folder has."""
        try:
            return tuple(sorted(path.name for path in Path(folder).iterdir()))
        except OSError:
            return ()

    def has_program(self, name: str) -> bool:
        """Whether a command can be found."""
        return shutil.which(name) is not None

    def unseen(self) -> tuple[str, ...]:
        """What could not be looked at."""
        return tuple(self._unseen)

    def _once(self, key: tuple[object, ...], look: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = look()
        return cast(T, self._kept[key])

    def _note(self, what: str, help_: str) -> None:
        self._unseen[f"{what} ({help_})"] = None

    def _root(self, view: Process | None) -> str:
        if view is None or view.pid == self._own.pid:
            return "/"
        if view.root is None:
            self._note(f"the file system as {view} sees it", "run as root")
            return "/"
        return f"/proc/{view.pid}/root"


def _account(uid: int) -> tuple[str, frozenset[int]] | None:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    return entry.pw_name, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))


def _unix_socket(answer: unix_diag.Answer) -> UnixSocket | None:
    name = answer.attributes.get(unix_diag.NAME, b"")
    if not name:
        return None  # not bound
    place = answer.attributes.get(unix_diag.VFS)
    waiting, backlog = unix_diag.QUEUE_LENGTHS.unpack(
        answer.attributes.get(unix_diag.QUEUE, bytes(unix_diag.QUEUE_LENGTHS.size))
    )
    text = os.fsdecode(name)
    return UnixSocket(
        inode=answer.inode,
        type=SocketType(answer.type),
        listening=answer.state == unix_diag.LISTEN,
        name=f"@{text[1:]}" if text.startswith("\0") else text.rstrip("\0"),
        file=None if place is None else _file(place),
        waiting=waiting,
        backlog=backlog,
    )


def _file(place: bytes) -> tuple[int, int]:
    inode, device = unix_diag.VFS_PLACE.unpack(place)
    # The kernel's own number: 12 bits of major, 20 of minor (linux/kdev_t.h).
    return os.makedev(device >> 20, device & 0xFFFFF), inode
