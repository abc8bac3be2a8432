"""Puts a running whole together from a snapshot, and takes it apart again."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from cloister.apps.certificates import Certificates, self_signed_hosts
from cloister.apps.changes import Place, places
from cloister.apps.configuration import RunningConfiguration
from cloister.apps.endpoints import Endpoints
from cloister.apps.front_door import DRAIN_TIMEOUT
from cloister.apps.holder import Holder
from cloister.apps.kept import Kept
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.reporting import describe_route
from cloister.apps.runtime import RuntimeDirectory
from cloister.apps.service_manager import ServiceManager
from cloister.apps.supervisor import Supervisor
from cloister.cells.cgroups.groups import ControlGroups, control_groups
from cloister.cells.identity import Freed, IdentityStore
from cloister.cells.quotas.bounds import DiskBounds
from cloister.cells.quotas.projects import ProjectStore
from cloister.cells.users import app_identity, named_identity
from cloister.config.accepted import AcceptedStore
from cloister.control.api import application
from cloister.control.server import ControlServer
from cloister.model.app import App, SelfSignedTls
from cloister.model.configuration import Start
from cloister.model.errors import CloisterError, ConfigError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import TcpAddress, UnixAddress
from cloister.model.route import ServerNameRoute
from cloister.model.snapshot import Paths, Snapshot
from cloister.observe import metrics
from cloister.observe.gateway_program import IDENTITY as GATEWAY_IDENTITY
from cloister.observe.gateway_program import KIND as GATEWAY_SOCKETS
from cloister.observe.gateway_program import MetricsGateway
from cloister.sockets.passed import PassedSockets
from cloister.sockets.plan import plan_control

_DYING = 15.0
"""Seconds that processes have to end whose supervisor was killed, where nothing keeps them."""
T = TypeVar("T")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def run(start: Start, sink: Sink) -> None:
    """Run until SIGTERM or SIGINT, then stop and leave nothing behind. A second signal
    stops without waiting for anybody. Raises :class:`CloisterError` where it cannot begin.
    """
    _watch_children()
    # First thing: what is opened before would be taken for passed.
    passed = PassedSockets()
    snapshot = start.snapshot
    for remark in start.remarks:
        _say(sink, remark, Level.WARNING)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(passed.close)
        stop = stack.enter_context(_signals(sink))
        manager = ServiceManager()
        stack.callback(manager.close)
        runtime = RuntimeDirectory(snapshot.paths.runtime)
        stack.callback(runtime.close)
        identities = _Identities(snapshot, sink)
        door = identities.door
        identities.retain(snapshot.apps)
        groups = _own_groups(snapshot.paths)
        certificates = await _certificates(snapshot, sink)
        holder = Holder(snapshot.paths.holder_socket, lambda text: _say(sink, text, Level.WARNING))
        kept = Kept(holder, await holder.begin())
        endpoints = Endpoints(snapshot.paths, door, kept)
        store = AcceptedStore(snapshot.paths.accepted)
        premises = _Premises(holder, kept, endpoints, store, groups)
        if not kept.anything:
            _clear(groups, sink)
        stack.push_async_callback(premises.leave)
        await premises.occupy(snapshot, passed, identities.identify)
        shelf = _Shelf(endpoints, manager)
        shelf.forget(passed.close())
        shelf.fill()
        if os.geteuid() == 0 and (closed := closed_to(snapshot.paths.runtime, door)):
            _say(sink, f"the door (user {door.uid}) may not pass {closed}", Level.WARNING)
        if not start.stored:
            store.write(start.accepted)
        supervisor = Supervisor(
            snapshot,
            endpoints,
            door,
            certificates,
            sink,
            identify=identities.identify,
            retain=identities.retain,
            groups=groups,
            kept=kept,
            disks=DiskBounds(ProjectStore(snapshot.paths.projects, snapshot.ids)),
        )
        gateway = await premises.bind(partial(_gateway, snapshot, door, supervisor, sink, kept))
        stack.callback(premises.give_up, gateway)
        configuration = RunningConfiguration(
            start.accepted, store, supervisor, _after_change(shelf, gateway, supervisor)
        )
        stack.push_async_callback(configuration.close)
        stop.on_second = supervisor.force
        control = _control(snapshot, supervisor, configuration, sink)
        gateway.start()
        premises.begin()
        try:
            care = _Care(supervisor, configuration, manager, sink)
            stop.follow_hangups(care.reload)
            await _live(snapshot, endpoints, sink, stop.requested, care)
        finally:
            await gateway.stop()
            await control.close()


def _control(
    snapshot: Snapshot, supervisor: Supervisor, configuration: RunningConfiguration, sink: Sink
) -> ControlServer:
    """The control API, which answers from now on."""
    api = application(supervisor, configuration)
    control = ControlServer(plan_control(snapshot.paths, snapshot.control), api, sink)
    control.start()
    return control


def _watch_children() -> None:
    if sys.version_info < (3, 12):
        # Else a thread waits for each child (asyncio.ThreadedChildWatcher); a pidfd, which
        # later versions use by themselves, needs none.
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


def _gateway(
    snapshot: Snapshot, door: HostIdentity, supervisor: Supervisor, sink: Sink, kept: Kept
) -> MetricsGateway:
    """With an id of its own, where there are ids to give."""

    def identify() -> HostIdentity | None:
        if os.geteuid() != 0:
            return None
        return IdentityStore(snapshot.paths.identities, snapshot.ids).acquire(GATEWAY_IDENTITY)

    async def own_metrics() -> str:
        return metrics.text(await supervisor.status())

    return MetricsGateway(snapshot, identify, door, own_metrics, sink, kept=kept)


def _after_change(
    shelf: "_Shelf", gateway: MetricsGateway, supervisor: Supervisor
) -> Callable[[], None]:
    """What follows another configuration."""

    def follow() -> None:
        shelf.fill()
        gateway.adopt(supervisor.snapshot)

    return follow


async def _live(
    snapshot: Snapshot, endpoints: Endpoints, sink: Sink, stop: asyncio.Event, care: "_Care"
) -> None:
    supervisor = care.supervisor
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            _announce(snapshot, endpoints, starting.result(), sink)
            care.begin()
            await stopping
        care.end()
        _say(sink, "stopping")
    finally:
        care.cancel()
        stopping.cancel()
        starting.cancel()
        await supervisor.stop()
    _say(sink, "stopped")


class _Premises:
    """What a supervisor has and leaves: to nobody where it stops, to the next one where it
    does not even begin and the last one has left something."""

    def __init__(
        self,
        holder: Holder,
        kept: Kept,
        endpoints: Endpoints,
        store: AcceptedStore,
        groups: ControlGroups,
    ) -> None:
        self._groups = groups
        self._holder = holder
        self._kept = kept
        self._endpoints = endpoints
        self._store = store
        self._inherited = kept.anything
        self._patient = store.running
        self._begun = False

    async def occupy(
        self,
        snapshot: Snapshot,
        passed: PassedSockets,
        identify: Callable[[App], HostIdentity],
    ) -> None:
        """Bind everything, or take over what is there. Raises :class:`CloisterError`."""
        endpoints = self._endpoints
        for place, listener in places(snapshot.listeners):
            await self.bind(partial(endpoints.bind, place, listener, passed))
        for app in snapshot.apps:
            await self.bind(partial(endpoints.add_app, app, identify(app)))
        for left in self._kept.take_sockets("listener", "app"):
            left.remove()

    async def bind(self, bind: Callable[[], T]) -> T:
        """Bind something. Where the last supervisor was killed, whoever still has a socket of
        it that is not kept is about to end."""
        deadline = time.monotonic() + _DYING
        while True:
            try:
                return bind()
            except CloisterError:
                if not self._patient or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    def begin(self) -> None:
        """Everything is there: from now on it ends with a stop."""
        for left in self._kept.take_sockets(GATEWAY_SOCKETS):
            left.remove()
        self._store.begin()
        self._begun = True

    @property
    def _leaves(self) -> bool:
        """Whether it goes to the next one."""
        return self._inherited and not self._begun

    def give_up(self, gateway: MetricsGateway) -> None:
        """The same of the gateway's sockets, which are the gateway's."""
        if self._leaves:
            gateway.release()
        else:
            gateway.close()

    async def leave(self) -> None:
        """Give back, or leave, everything."""
        if self._leaves:
            self._kept.leave()
            self._endpoints.release()
            self._holder.detach()
            return
        self._groups.close()
        self._endpoints.close()
        if self._begun:
            self._store.end()
        await self._holder.end()


class _Care:
    """What goes on while everything runs: reloads, and the watchdog of the supervisor's own
    supervisor."""

    def __init__(
        self,
        supervisor: Supervisor,
        configuration: RunningConfiguration,
        manager: ServiceManager,
        sink: Sink,
    ) -> None:
        self.supervisor = supervisor
        self._configuration = configuration
        self._manager = manager
        self._sink = sink
        self._watch: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._wanted = False

    def begin(self) -> None:
        """Everything had its first chance."""
        self._manager.ready("serving")
        if self._manager.watchdog is not None:
            self._watch = asyncio.create_task(self._answer_watchdog(self._manager.watchdog))

    def end(self) -> None:
        """A stop was asked for."""
        apps = self.supervisor.snapshot.apps
        longest = max((app.stop_timeout for app in apps), default=0.0)
        self._manager.stopping(DRAIN_TIMEOUT + longest + 10.0, "stopping")

    def cancel(self) -> None:
        """Nothing goes on."""
        for task in (self._watch, self._reloading):
            if task is not None:
                task.cancel()

    def reload(self) -> None:
        """Take what is on the disk by now: the configuration file, where somebody has edited
        it, and the door's program. While that is under way the file may have been read
        already: then it is done once more, for all requests of meanwhile."""
        self._wanted = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload_as_wanted())

    async def _reload_as_wanted(self) -> None:
        while self._wanted:
            self._wanted = False
            await self._reload()

    async def _reload(self) -> None:
        self._manager.reloading()
        status = "serving"
        try:
            await self._reread()
            await self.supervisor.replace_door()
        except ConfigError as error:
            status = f"serving; the configuration file was refused: {error}"
            for problem in error.problems:
                details = [
                    f"{name}: {text}"
                    for name, text in (("why", problem.why), ("next", problem.hint))
                    if text
                ]
                message = f"{problem.where}: {problem.what}"
                event = LogEvent("cloister", message, Level.ERROR, tuple(details))
                self._sink.emit(event)
            _say(self._sink, f"the configuration stays as it is: {error}", Level.ERROR)
        except CloisterError as error:
            status = f"serving; not everything was reloaded: {error}"
            why = f" ({error.why})" if error.why else ""
            _say(self._sink, f"not everything was reloaded: {error}{why}", Level.ERROR)
        self._manager.ready(status)

    async def _reread(self) -> None:
        accepted = await self._configuration.reread()
        if accepted is not None:
            _say(self._sink, f"the configuration file is in force: version {accepted.version}")

    async def _answer_watchdog(self, period: float) -> None:
        """A supervisor that hangs says nothing and is ended; a door that hangs is replaced by
        the supervisor itself, which costs less."""
        while True:
            await asyncio.sleep(period)
            if not await self.supervisor.door_answers(period / 2):
                message = "a worker of the door does not answer: the door is ended"
                _say(self._sink, message, Level.ERROR)
                self.supervisor.restart_door()
            self._manager.alive()


class _Shelf:
    """What the service manager keeps over a restart: the listening sockets, and none that no
    listener names any more. A path is left out: its name goes when it is closed."""

    def __init__(self, endpoints: Endpoints, manager: ServiceManager) -> None:
        self._endpoints = endpoints
        self._manager = manager
        self._kept: dict[Place, str] = {}
        self._number = 0

    def fill(self) -> None:
        """The endpoints' sockets have changed."""
        places = self._endpoints.places
        for place in [place for place in self._kept if place not in places]:
            self._manager.forget(self._kept.pop(place))
        for place, endpoint in places.items():
            address = place.address
            if place in self._kept or (isinstance(address, UnixAddress) and not address.abstract):
                continue
            self._kept[place] = f"{endpoint.listener}.{self._number}"
            self._number += 1
            self._manager.store(self._kept[place], endpoint.bound.socket)

    def forget(self, names: Iterable[str]) -> None:
        """Those are of no use any more."""
        for name in names:
            self._manager.forget(name)


class _Identities:
    """The door's ids, and what gives applications their own."""

    def __init__(self, snapshot: Snapshot, sink: Sink) -> None:
        self._sink = sink
        self._store = IdentityStore(snapshot.paths.identities, snapshot.ids)
        self.door = self._store.door
        if os.geteuid() == 0 and snapshot.door.user is not None:
            self.door = named_identity(snapshot.door.user, "the door")

    def identify(self, app: App) -> HostIdentity:
        """The host ids of an application. Raises :class:`CloisterError`."""
        return app_identity(app, self._store.acquire)

    def retain(self, apps: Iterable[App]) -> None:
        """Only these have ids from now on. Says what belongs to those of others still."""
        kept = tuple(apps)
        writable = {bind.source for app in kept for bind in app.binds if bind.writable}
        for freed in self._store.retain((app.name for app in kept), sorted(writable)):
            _say_freed(freed, self._sink)


def _say_freed(freed: Freed, sink: Sink) -> None:
    """An application is configured no more: what it has left would be the next one's."""
    message = f"is configured no more: its id {freed.uid} is kept for it"
    level = Level.INFO
    if freed.leftovers:
        message += f", and still owns {', '.join(freed.leftovers)}"
        level = Level.WARNING
    sink.emit(LogEvent(freed.name, message, level))


def _own_groups(paths: Paths) -> ControlGroups:
    """Before anything is started, which would stay behind in the group that controls others."""
    groups = control_groups(paths)
    groups.make_way()
    return groups


def _clear(groups: ControlGroups, sink: Sink) -> None:
    """What an earlier supervisor of the same place has left is gone."""
    for name in groups.clear():
        message = "processes of an earlier supervisor were still there: they are ended"
        sink.emit(LogEvent(name, message, Level.WARNING))


async def _certificates(snapshot: Snapshot, sink: Sink) -> Certificates:
    hosts = self_signed_hosts(snapshot.apps)
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
        self._on_hangup: Callable[[], None] | None = None
        self._hung_up = False

    def follow_hangups(self, call: Callable[[], None]) -> None:
        """Have ``call`` called for each SIGHUP from now on, and for those that have come."""
        self._on_hangup = call
        if self._hung_up:
            call()

    def hung_up(self) -> None:
        """SIGHUP has come."""
        _say(self._sink, "SIGHUP: taking an edited configuration file, and replacing the door")
        self._hung_up = True
        if self._on_hangup is not None:
            self._on_hangup()

    def signalled(self, name: str) -> None:
        """A stop signal has come."""
        if self.requested.is_set():
            _say(self._sink, f"{name} again: ending everything now", Level.WARNING)
            self.on_second()
        self.requested.set()


@contextlib.contextmanager
def _signals(sink: Sink) -> Iterator[_Stop]:
    """The stop signals set an event, for as long as the block runs."""
    loop = asyncio.get_running_loop()
    stop = _Stop(sink)
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.signalled, number.name)
    loop.add_signal_handler(signal.SIGHUP, stop.hung_up)
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
