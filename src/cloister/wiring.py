"""Puts a running whole together from a snapshot, and takes it apart again."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cloister.apps.certificates import Certificates
from cloister.apps.endpoints import Endpoints
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.runtime import RuntimeDirectory
from cloister.apps.supervisor import Supervisor, describe_route
from cloister.cells.identity import IdentityStore
from cloister.control.api import application
from cloister.control.server import ControlServer
from cloister.model.app import SelfSignedTls
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import TcpAddress
from cloister.model.route import ServerNameRoute
from cloister.model.snapshot import Snapshot

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def run(snapshot: Snapshot, sink: Sink) -> None:
    """Run until SIGTERM or SIGINT, then stop and leave nothing behind. A second signal
    stops without waiting for anybody. Raises :class:`CloisterError` where it cannot begin.
    """
    if sys.version_info < (3, 12):
        # Else a thread waits for each child (asyncio.ThreadedChildWatcher); a pidfd, which
        # later versions use by themselves, needs none.
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_signals(sink))
        runtime = RuntimeDirectory(snapshot.paths.runtime)
        stack.callback(runtime.close)
        door, identities = _identities(snapshot)
        certificates = await _certificates(snapshot, sink)
        endpoints = Endpoints(snapshot.paths, door)
        stack.callback(endpoints.close)
        endpoints.bind_listeners(snapshot.listeners)
        for app in snapshot.apps:
            endpoints.add_app(app, identities[app.name])
        if os.geteuid() == 0 and (closed := closed_to(snapshot.paths.runtime, door)):
            _say(sink, f"the door (user {door.uid}) may not pass {closed}", Level.WARNING)
        supervisor = Supervisor(snapshot, endpoints, door, certificates, sink)
        stop.on_second = supervisor.force
        control = ControlServer(snapshot.paths.control_socket, application(supervisor), sink)
        control.start()
        try:
            await _live(snapshot, supervisor, endpoints, sink, stop.requested)
        finally:
            await control.close()


async def _live(
    snapshot: Snapshot,
    supervisor: Supervisor,
    endpoints: Endpoints,
    sink: Sink,
    stop: asyncio.Event,
) -> None:
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            _announce(snapshot, endpoints, starting.result(), sink)
            _notify("READY=1")
            await stopping
        _notify("STOPPING=1")
        _say(sink, "stopping")
    finally:
        stopping.cancel()
        starting.cancel()
        await supervisor.stop()
    _say(sink, "stopped")


def _identities(snapshot: Snapshot) -> tuple[HostIdentity, dict[str, HostIdentity]]:
    """The door's ids and each application's."""
    store = IdentityStore(snapshot.paths.identities, snapshot.ids)
    door = store.door
    if os.geteuid() == 0 and snapshot.door.user is not None:
        door = _user(snapshot.door.user)
    return door, {app.name: store.acquire(app.name) for app in snapshot.apps}


def _user(name: str) -> HostIdentity:
    import pwd  # noqa: PLC0415 - only where a name is configured

    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError as error:
        if name.isdecimal():
            return HostIdentity(int(name), int(name))
        raise CloisterError(
            f"there is no user {name!r} to run the door as",
            hint="make it, or correct `user` in [door]",
        ) from error
    return HostIdentity(entry.pw_uid, entry.pw_gid)


async def _certificates(snapshot: Snapshot, sink: Sink) -> Certificates:
    hosts = {app.name: app.hosts for app in snapshot.apps if isinstance(app.tls, SelfSignedTls)}
    folder = os.path.dirname(snapshot.paths.authority_certificate)  # noqa: PTH120 - a text
    certificates = Certificates(folder, hosts)
    if hosts and await certificates.renew():
        path = certificates.path
        message = f"made a new certificate authority: trust {path} instead of the old one"
        _say(sink, message, Level.WARNING)
    return certificates


class _Stop:
    """What the stop signals do."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.requested = asyncio.Event()
        """Set by the first signal."""
        self.on_second: Callable[[], None] = lambda: None

    def signalled(self, name: str) -> None:
        """A stop signal has come."""
        if self.requested.is_set():
            _say(self._sink, f"{name} again: ending everything now", Level.WARNING)
            self.on_second()
        self.requested.set()


@contextlib.contextmanager
def _signals(sink: Sink) -> Iterator[_Stop]:
    """The stop signals set an event, for as long as the block runs; SIGHUP does nothing."""
    loop = asyncio.get_running_loop()
    stop = _Stop(sink)

    def on_hangup() -> None:
        _say(sink, "SIGHUP changes nothing: restart to use a changed configuration")

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.signalled, number.name)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    try:
        yield stop
    finally:
        for number in (*_STOP_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)


def closed_to(path: str, identity: HostIdentity) -> str | None:
    """The first folder of ``path`` whose mode keeps ``identity`` from passing it. Looks at
    owner, group and mode alone: an access control list may say otherwise.
    """
    for folder in (*reversed(Path(path).parents), Path(path)):
        found = folder.stat()
        if found.st_uid == identity.uid:
            passable = found.st_mode & 0o100
        elif found.st_gid == identity.gid:
            passable = found.st_mode & 0o010
        else:
            passable = found.st_mode & 0o001
        if not passable:
            return str(folder)
    return None


def _announce(
    snapshot: Snapshot, endpoints: Endpoints, missing: tuple[str, ...], sink: Sink
) -> None:
    """What listens where, and how to reach it."""
    routes = {listener.name: listener.route for listener in snapshot.listeners}
    described = {listener.name: describe_route(listener) for listener in snapshot.listeners}
    for endpoint in endpoints.listeners:
        name, address = endpoint.listener, endpoint.bound.address
        _say(sink, f"{name} listens on {address}, {described[name]}")
    tcp = [
        endpoint.bound.address
        for endpoint in endpoints.listeners
        if isinstance(endpoint.bound.address, TcpAddress)
        and isinstance(routes[endpoint.listener], ServerNameRoute)
    ]
    for app in snapshot.apps:
        if app.name in missing or app.tls is None or not tcp:
            continue
        trust = ""
        if isinstance(app.tls, SelfSignedTls):
            trust = f" --cacert {snapshot.paths.authority_certificate}"
        for host in app.hosts:
            if not host.startswith("*"):
                _say(sink, f"try: curl{trust}{reach(host, tcp[0])}")
    ready = len(snapshot.apps) - len(missing)
    if missing:
        message = f"ready: {ready} of {len(snapshot.apps)} apps; not ready: {', '.join(missing)}"
        _say(sink, message, Level.WARNING)
    else:
        _say(sink, f"ready: {ready} app{'' if ready == 1 else 's'}")


def reach(host: str, address: TcpAddress) -> str:
    """curl's arguments that reach ``host`` at ``address`` without any DNS."""
    target = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address.host, address.host)
    if ":" in target and not target.startswith("["):
        target = f"[{target}]"
    port = "" if address.port == 443 else f":{address.port}"
    return f" --resolve {host}:{address.port}:{target} https://{host}{port}/"


def _say(sink: Sink, message: str, level: Level = Level.INFO) -> None:
    sink.emit(LogEvent("cloister", message, level))


def _notify(message: str) -> None:
    """Tells the supervisor's own supervisor (sd_notify(3)), where it has one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # Best effort: to serve matters more than to have said so.
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.sendto(message.encode(), address)
