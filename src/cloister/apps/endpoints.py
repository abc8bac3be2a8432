"""Every socket that the supervisor owns, bound before anything runs and until all has ended.

They outlive the programs that take connections from them: while an application or the
door is replaced, connections wait in the queue and none is refused.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cloister.apps.readiness import NotifySocket
from cloister.model.app import App, Readiness
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Listener, SocketOptions, UnixAddress
from cloister.model.snapshot import Paths
from cloister.sockets.bind import BoundSocket, bind_listener


@dataclass(frozen=True, slots=True)
class AppEndpoint:
    """Where one application is reached, and where it reports."""

    path: str
    """Of its listening socket."""
    listening: BoundSocket
    notify: NotifySocket | None
    identity: HostIdentity
    """The host ids that it runs under."""


@dataclass(frozen=True, slots=True)
class ListenerEndpoint:
    """One bound address of a listener."""

    listener: str
    bound: BoundSocket


class Endpoints:
    """Owns the sockets and the folders made for them; :meth:`close` gives all back."""

    def __init__(self, paths: Paths, door: HostIdentity) -> None:
        """``door`` is whom the applications' sockets are open to."""
        self._paths = paths
        self._door = door
        self._stack = contextlib.ExitStack()
        self._listeners = self._stack.enter_context(contextlib.ExitStack())
        self.listeners: list[ListenerEndpoint] = []
        self.apps: dict[str, AppEndpoint] = {}

    def bind_listeners(self, listeners: Iterable[Listener]) -> None:
        """Bind every address. Raises what ``bind_listener`` raises."""
        for listener in listeners:
            for address in listener.addresses:
                bound = bind_listener(address, listener.socket)
                self._listeners.callback(bound.close)
                self.listeners.append(ListenerEndpoint(listener.name, bound))

    def add_app(self, app: App, identity: HostIdentity) -> AppEndpoint:
        """Make an application's folder and its sockets. Raises :class:`CloisterError`."""
        path = self._paths.app_socket(app.name)
        folder = Path(path).parent
        self._make_folder(folder.parent, 0o711, gid=None)
        # Only the door passes: the folder is a second fence around the socket's own mode.
        self._make_folder(folder, 0o750, gid=self._door.gid)
        options = SocketOptions(group=str(self._door.gid), mode=0o660)
        listening = bind_listener(UnixAddress(path), options)
        self._stack.callback(listening.close)
        notify = None
        if app.ready is Readiness.NOTIFY:
            notify_path = folder / "notify"
            # The lock on the runtime directory is ours: what stands here is left over.
            notify_path.unlink(missing_ok=True)
            notify = NotifySocket(str(notify_path), identity)
            self._stack.callback(notify.close)
        endpoint = AppEndpoint(path, listening, notify, identity)
        self.apps[app.name] = endpoint
        return endpoint

    def close_listeners(self) -> None:
        """From now on new clients are refused, not kept waiting."""
        self._listeners.close()

    def close(self) -> None:
        """Close and unlink everything; may be called twice."""
        self._stack.close()

    def _make_folder(self, folder: Path, mode: int, gid: int | None) -> None:
        try:
            # Closed at first, so that nobody enters before owner and mode are right.
            folder.mkdir(mode=0o700, exist_ok=True)
            if gid is not None and os.geteuid() == 0:
                os.chown(folder, -1, gid)
            folder.chmod(mode)
        except OSError as error:
            raise CloisterError(
                f"the folder {folder} cannot be made", why=os.strerror(error.errno or 0)
            ) from error
        self._stack.callback(_remove_folder, folder)


def _remove_folder(folder: Path) -> None:
    # Not empty: another application's folder is in it, and removes it later.
    with contextlib.suppress(OSError):
        folder.rmdir()
