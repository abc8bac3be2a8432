"""Every socket in the file system that Cloister makes or has made, decided before anything is
touched: where it is, of which type, whose, with which mode, in which directories, for whom.

The supervisor binds by these values, the generators write them for systemd, s6 and the web
servers in front, and the diagnosis compares what is there with them: none can disagree with
another. Accounts have the names of the configuration: files are generated on machines that do
not have them yet. ``sockets.numbers`` looks them up where something is made.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from cloister.model.app import App, Endpoint
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Address, Listener, SocketOptions, UnixAddress
from cloister.model.snapshot import ControlOptions, Paths, Snapshot, default_paths

RUNTIME_MODE = 0o711
"""Of the supervisor's runtime directory: whoever may connect has to be able to pass; nobody
else has to see what there is."""
SUPERVISOR_DIRECTORY = default_paths(0, {}).runtime
"""Where the machine's own supervisor has its sockets."""
RELAY_DIRECTORY = "/run/cloister-relay"
"""Where those of generated relays are."""
RELAY_SOCKET = SocketOptions(owner="root", group="root", directory_mode=0o711)
"""How they are made, unless told. As strict as can be: every other setting lets somebody in."""

_OWNER_WRITES, _GROUP_WRITES, _OTHERS_WRITE = 0o200, 0o020, 0o002
"""connect(2) needs write permission on the socket (unix(7))."""


class Passage(Enum):
    """As what somebody is let in."""

    OWNER = "its owner"
    GROUP = "a member of its group"
    OTHERS = "anybody"


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who has to reach a socket, by names or numbers as configurations have them."""

    user: str | None
    """``None``: whoever is in the group."""
    group: str | None
    """``None``: whichever his are."""

    def __str__(self) -> str:
        return f"user {self.user}" if self.user is not None else f"the members of {self.group}"


@dataclass(frozen=True, slots=True)
class DirectoryPlan:
    """A directory above a socket that whoever makes the socket makes as well."""

    path: str
    mode: int
    group: str | None = None
    """A name or a number; ``None`` leaves it the maker's own."""
    own: bool = True
    """Whether it is there for this socket, and is put right where it is otherwise; else it is
    made so where it is missing, and left as it is where it is not."""


@dataclass(frozen=True, slots=True)
class SocketPlan:
    """Everything that decides who reaches a socket."""

    path: str
    """Absolute."""
    options: SocketOptions
    """Its type, owner, group, mode and queue."""
    directories: tuple[DirectoryPlan, ...]
    """The outermost first; the last is the one that the socket lies in, where Cloister has any
    say in that."""
    clients: tuple[Client, ...] = ()
    """Who must reach it; empty where that is nobody but who makes it, or everybody."""

    @property
    def folder(self) -> str:
        """The directory that the socket lies in."""
        return posixpath.dirname(self.path)

    def passage(self, client: Client) -> Passage | None:
        """As what ``client`` is let in; ``None`` where he is not. The kernel takes the first
        that fits and looks no further (path_resolution(7)). By names alone: whether ``33`` is
        ``www-data`` is not known here."""
        mode, options = self.options.mode, self.options
        if client.user is not None and client.user == options.owner:
            return Passage.OWNER if mode & _OWNER_WRITES else None
        if client.group is not None and client.group == options.group:
            return Passage.GROUP if mode & _GROUP_WRITES else None
        return Passage.OTHERS if mode & _OTHERS_WRITE else None

    @property
    def joinable(self) -> str | None:
        """The group that lets in who is put into it; ``None`` where there is none."""
        return self.options.group if self.options.mode & _GROUP_WRITES else None

    @property
    def open_to_all(self) -> bool:
        """Whether the socket's own mode keeps out nobody."""
        return bool(self.options.mode & _OTHERS_WRITE)


def plan_socket(path: str, options: SocketOptions) -> SocketPlan:
    """A socket at any path: directories that are missing are made, and whom its owner and its
    group let in has to reach it."""
    folder = posixpath.dirname(path)
    directories = (DirectoryPlan(folder, options.directory_mode, options.group, own=False),)
    clients = []
    if options.owner is not None and options.mode & _OWNER_WRITES:
        clients.append(Client(options.owner, None))
    if options.group is not None and options.mode & _GROUP_WRITES:
        clients.append(Client(None, options.group))
    return SocketPlan(path, options, directories, tuple(clients))


def plan_app(paths: Paths, app: App, door: HostIdentity) -> SocketPlan:
    """An application's socket: only the door passes, and the folder is a second fence around
    the socket's own mode."""
    path = paths.app_socket(app.name)
    folder, group = posixpath.dirname(path), str(door.gid)
    return SocketPlan(
        path,
        SocketOptions(group=group, mode=0o660, sequenced=app.endpoint is Endpoint.HANDOFF),
        directories=(
            DirectoryPlan(posixpath.dirname(folder), 0o711),
            DirectoryPlan(folder, 0o750, group),
        ),
        clients=(Client(str(door.uid), group),),
    )


def plan_relay(name: str, options: SocketOptions = RELAY_SOCKET) -> SocketPlan:
    """The socket of a generated relay; ``name`` may be systemd's ``%i``."""
    return plan_socket(f"{RELAY_DIRECTORY}/{name}.sock", options)


def plan_listener(paths: Paths, listener: Listener) -> tuple[SocketPlan, ...]:
    """The sockets of a listener in the file system."""
    return tuple(_configured(paths, listener.addresses, listener.socket))


def plan_metrics(snapshot: Snapshot) -> tuple[SocketPlan, ...]:
    """The sockets in the file system at which metrics are asked for."""
    addresses = [*snapshot.metrics.listen]
    for app in snapshot.apps:
        addresses += app.metrics.listen if app.metrics is not None else ()
    return tuple(_configured(snapshot.paths, tuple(addresses), snapshot.metrics.socket))


def plan_control(paths: Paths, control: ControlOptions) -> SocketPlan:
    """The socket at which the supervisor is asked."""
    options = SocketOptions(control.owner, control.group, control.mode, backlog=64)
    (plan,) = _configured(paths, (UnixAddress(paths.control_socket),), options)
    return plan


def _configured(
    paths: Paths, addresses: tuple[Address, ...], options: SocketOptions
) -> Iterator[SocketPlan]:
    for address in addresses:
        if isinstance(address, UnixAddress) and not address.abstract:
            plan = plan_socket(address.path, options)
            if plan.folder == paths.runtime:
                # The supervisor makes it before any socket, and no listener changes it.
                directories = (DirectoryPlan(paths.runtime, RUNTIME_MODE),)
                plan = SocketPlan(plan.path, options, directories, plan.clients)
            yield plan
