"""Every socket that the supervisor owns, bound before anything runs and until all has ended.

They outlive the programs that take connections from them: while an application or the
door is replaced, connections wait in the queue and none is refused.
"""

import contextlib
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cloister.apps.changes import Place, places
from cloister.apps.kept import Kept, LeftSocket, SocketRecord
from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Address, Listener, SocketOptions, UnixAddress
from cloister.model.snapshot import Paths
from cloister.sockets.bind import (
    BoundSocket,
    adopt_listener,
    adopt_path_listener,
    bind_listener,
    bind_planned,
)
from cloister.sockets.numbers import resolve
from cloister.sockets.passed import PassedSockets
from cloister.sockets.plan import DirectoryPlan, SocketPlan, plan_app, plan_socket


@dataclass(frozen=True, slots=True)
class AppEndpoint:
    """Where one application is reached, and where its processes report."""

    path: str
    """Of its listening socket."""
    listening: BoundSocket
    identity: HostIdentity
    """The host ids that it runs under."""
    version: int = 0
    """Counted from 0: versions of one application run side by side for a while."""

    def notify_path(self, number: int) -> str:
        """Where one of its processes reports, from a cell with mounts of its own."""
        folder = os.path.dirname(self.path)  # noqa: PTH120 - a text
        return f"{folder}/notify-{self.version}-{number}"

    def open_notify_path(self, number: int) -> str:
        """The same where a process that sees the host's files as they are can come to it: the
        folder of the other one is closed to the application. Names have no dot."""
        folder = os.path.dirname(self.path)  # noqa: PTH120 - a text
        return f"{folder}.notify-{self.version}-{number}"

    def close(self, successor: "AppEndpoint | None" = None) -> None:
        """Close and unlink what a successor does not go on with. May be called twice."""
        if successor is None or self.listening is not successor.listening:
            self.listening.close()
        if successor is None:
            folder = Path(self.path).parent
            _remove_folder(folder)
            _remove_folder(folder.parent)


@dataclass(frozen=True, slots=True)
class ListenerEndpoint:
    """One bound address of a listener."""

    listener: str
    bound: BoundSocket


class Endpoints:
    """Owns the sockets and the folders made for them; :meth:`close` gives all back."""

    def __init__(self, paths: Paths, door: HostIdentity, kept: Kept | None = None) -> None:
        """``door`` is whom the applications' sockets are open to. ``kept`` is where sockets
        of a last supervisor are found, and kept for the next one."""
        self._kept = kept
        self._paths = paths
        self._door = door
        self._version = 0
        self.places: dict[Place, ListenerEndpoint] = {}
        self.apps: dict[str, AppEndpoint] = {}

    @property
    def listeners(self) -> list[ListenerEndpoint]:
        """Every bound address."""
        return list(self.places.values())

    def bind_listeners(self, listeners: Iterable[Listener], passed: PassedSockets) -> None:
        """Bind every address, or take the socket that was passed for it. Raises what
        ``bind_listener`` raises."""
        for place, listener in places(listeners):
            self.bind(place, listener, passed)

    def bind(self, place: Place, listener: Listener, passed: PassedSockets) -> None:
        """The same for one address."""
        self.places[place] = self.open_listener(place, listener, passed)

    def open_listener(
        self, place: Place, listener: Listener, passed: PassedSockets | None = None
    ) -> ListenerEndpoint:
        """Bind one address, or take the socket that was passed for it. The caller enters it
        in :attr:`places`, or closes it. Raises what ``bind_listener`` raises."""
        bound = self._left_listener(place, listener)
        if bound is None:
            listening = None if passed is None else passed.take(place.address)
            if listening is None:
                bound = bind_listener(place.address, listener.socket)
            else:
                bound = adopt_listener(listening, place.address, listener.socket)
        if self._kept is not None:
            self._kept.store_listener(place, bound.socket, socket_record(bound))
        return ListenerEndpoint(listener.name, bound)

    def _left_listener(self, place: Place, listener: Listener) -> BoundSocket | None:
        """The socket of the last supervisor."""
        left = None if self._kept is None else self._kept.take_listener(place)
        return None if left is None else adopt_left(left, place.address, listener.socket)

    def close_listener(self, place: Place, endpoint: ListenerEndpoint) -> None:
        """Whoever connects from now on is refused."""
        if self._kept is not None:
            self._kept.forget_listener(place)
            with contextlib.suppress(OSError):
                # Copies of it close a moment later.
                endpoint.bound.socket.shutdown(socket.SHUT_RDWR)
        endpoint.bound.close()

    def close_app(self, name: str, endpoint: AppEndpoint) -> None:
        """Free an application's name; what waits in its queue is still served by those who
        have its socket."""
        if self._kept is not None:
            self._kept.forget_app(name)
        endpoint.listening.close()

    def add_app(self, app: App, identity: HostIdentity) -> AppEndpoint:
        """Make an application's folder and its sockets. Raises :class:`CloisterError`."""
        # The lock on the runtime directory is ours: what stands here is left over.
        folder = Path(self._paths.app_socket(app.name)).parent
        for left in (*folder.glob("notify*"), *folder.parent.glob(f"{app.name}.notify-*")):
            left.unlink()
        endpoint = self.apps[app.name] = self.make_app(app, identity)
        self.keep_app(app.name)
        return endpoint

    def keep_app(self, name: str) -> None:
        """Have the socket of an application that is in :attr:`apps` kept for a next supervisor,
        before anything runs on it."""
        if self._kept is not None:
            listening = self.apps[name].listening
            self._kept.store_app(name, listening.socket, socket_record(listening))

    def make_app(
        self, app: App, identity: HostIdentity, former: AppEndpoint | None = None
    ) -> AppEndpoint:
        """The sockets of an application, or of its next version, which goes on with the
        ``former`` listening socket where it can. The caller enters them in :attr:`apps`, or
        closes them. Raises :class:`CloisterError`; nothing of it is left then.
        """
        plan = plan_app(self._paths, app, self._door)
        with contextlib.ExitStack() as undo:
            if former is None:
                for directory in plan.directories:
                    _make_folder(directory)
                    undo.callback(_remove_folder, Path(directory.path))
            left = self._left_app(app, plan) if former is None else None
            if left is not None:
                listening = left
                undo.callback(listening.close)
            elif former is not None and former.listening.sequenced is plan.options.sequenced:
                listening = former.listening
            else:
                listening = bind_planned(plan, over=former.listening if former else None)
                undo.callback(listening.close)
                # As systemd would hand it over: a plain accept(2) waits.
                listening.socket.setblocking(True)
            undo.pop_all()
        self._version += 1
        return AppEndpoint(plan.path, listening, identity, self._version)

    def _left_app(self, app: App, plan: SocketPlan) -> BoundSocket | None:
        """The socket of the last supervisor, where it will do."""
        left = None if self._kept is None else self._kept.take_app(app.name)
        if left is None:
            return None
        if (left.socket.type == socket.SOCK_SEQPACKET) is not plan.options.sequenced:
            left.socket.close()
            return None
        return _adopt_path(left, plan)

    def close_listeners(self) -> None:
        """From now on new clients are refused, not kept waiting."""
        for place, endpoint in self.places.items():
            if self._kept is not None:
                self._kept.forget_listener(place)
            endpoint.bound.close()

    def close(self) -> None:
        """Close and unlink everything; may be called twice."""
        self.close_listeners()
        for name, endpoint in self.apps.items():
            if self._kept is not None:
                self._kept.forget_app(name)
            endpoint.close()

    def release(self) -> None:
        """Close, and leave everything to the next supervisor."""
        for endpoint in self.places.values():
            endpoint.bound.release()
        for app in self.apps.values():
            app.listening.release()
        self.places, self.apps = {}, {}


def adopt_left(left: LeftSocket, address: Address, options: SocketOptions) -> BoundSocket | None:
    """A socket of the last supervisor as one of this one's; ``None``, and closed, where it
    will not do. Raises what ``adopt_listener`` raises."""
    if not (isinstance(address, UnixAddress) and not address.abstract):
        return adopt_listener(left.socket, address, options)
    return _adopt_path(left, plan_socket(address.path, options))


def socket_record(bound: BoundSocket) -> SocketRecord:
    """What is kept beside it."""
    device, inode = bound.file or (0, 0)
    return SocketRecord(str(bound.address), device, inode)


def _adopt_path(left: LeftSocket, plan: SocketPlan) -> BoundSocket | None:
    bound = None
    if left.file is not None:
        bound = adopt_path_listener(left.socket, resolve(plan), left.file)
    if bound is None:
        left.socket.close()
    return bound


def _make_folder(plan: DirectoryPlan) -> None:
    folder = Path(plan.path)
    try:
        # Closed at first, so that nobody enters before owner and mode are right.
        folder.mkdir(mode=0o700, exist_ok=True)
        if plan.group is not None and os.geteuid() == 0:
            os.chown(folder, -1, int(plan.group))  # the door's, a number
        folder.chmod(plan.mode)
    except OSError as error:
        raise CloisterError(
            f"the folder {folder} cannot be made", why=os.strerror(error.errno or 0)
        ) from error


def _remove_folder(folder: Path) -> None:
    # Not empty: another application's folder is in it, and removes it later.
    with contextlib.suppress(OSError):
        folder.rmdir()
