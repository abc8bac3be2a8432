"""The composition root: everything that runs is made here, and given what it needs."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable

from cloister.apps.certificates import Certificates, self_signed_hosts
from cloister.apps.configuration import RunningConfiguration
from cloister.apps.endpoints import Endpoints
from cloister.apps.holder import Holder
from cloister.apps.kept import Kept
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.runtime import RuntimeDirectory
from cloister.apps.service_manager import ServiceManager
from cloister.apps.supervisor import Supervisor
from cloister.cells.cgroups.groups import ControlGroups, control_groups
from cloister.cells.quotas.bounds import DiskBounds
from cloister.cells.quotas.projects import ProjectStore
from cloister.config.accepted import AcceptedStore
from cloister.control.api import application
from cloister.control.server import ControlServer
from cloister.model.configuration import Start
from cloister.model.snapshot import Paths, Snapshot
from cloister.observe.gateway_program import Metrics
from cloister.sockets.passed import PassedSockets
from cloister.sockets.plan import plan_control
from cloister.wiring.announcement import announce, say
from cloister.wiring.care import Care
from cloister.wiring.companions import Companions
from cloister.wiring.identities import Identities, closed_to
from cloister.wiring.premises import Premises
from cloister.wiring.shelf import Shelf
from cloister.wiring.stop import Stop, signals


async def run(start: Start, sink: Sink) -> None:
    """Run until SIGTERM or SIGINT, then stop and leave nothing behind. A second signal
    stops without waiting for anybody. Raises :class:`CloisterError` where it cannot begin.
    """
    _watch_children()
    # First thing: what is opened before would be taken for passed.
    passed = PassedSockets()
    snapshot = start.snapshot
    for remark in start.remarks:
        say(sink, remark, Level.WARNING)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(passed.close)
        stop = stack.enter_context(signals(sink))
        manager = ServiceManager()
        stack.callback(manager.close)
        runtime = RuntimeDirectory(snapshot.paths.runtime)
        stack.callback(runtime.close)
        identities = Identities(snapshot, sink)
        door = identities.door
        identities.retain(snapshot.apps)
        groups = _own_groups(snapshot.paths)
        certificates = await _certificates(snapshot, sink)
        holder = Holder(snapshot.paths.holder_socket, lambda text: say(sink, text, Level.WARNING))
        kept = Kept(holder, await holder.begin())
        endpoints = Endpoints(snapshot.paths, door, kept)
        store = AcceptedStore(snapshot.paths.accepted)
        premises = Premises(holder, kept, endpoints, store, groups)
        if not kept.anything:
            _clear(groups, sink)
        stack.push_async_callback(premises.leave)
        await premises.occupy(snapshot, passed, identities.identify)
        shelf = Shelf(endpoints, manager)
        shelf.forget(passed.close())
        shelf.fill()
        if os.geteuid() == 0 and (closed := closed_to(snapshot.paths.runtime, door)):
            say(sink, f"the door (user {door.uid}) may not pass {closed}", Level.WARNING)
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
        companions = Companions(
            snapshot, supervisor, sink, kept, identify_app=identities.identify, door=door
        )
        stack.callback(premises.give_up, companions)
        await companions.bind(premises.bind)
        configuration = RunningConfiguration(
            start.accepted, store, supervisor, _after_change(shelf, companions, supervisor)
        )
        stack.push_async_callback(configuration.close)
        stop.on_second = supervisor.force
        control = _control(snapshot, supervisor, configuration, companions.metrics, sink)
        companions.start()
        premises.begin()
        try:
            care = Care(supervisor, configuration, companions, manager, sink)
            await _live(snapshot, endpoints, sink, stop, care)
        finally:
            await companions.stop()
            await control.close()


def _watch_children() -> None:
    if sys.version_info < (3, 12):
        # Else a thread waits for each child (asyncio.ThreadedChildWatcher); a pidfd, which
        # later versions use by themselves, needs none.
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


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
        say(sink, message, Level.WARNING)
    return certificates


def _control(
    snapshot: Snapshot,
    supervisor: Supervisor,
    configuration: RunningConfiguration,
    metrics: Metrics,
    sink: Sink,
) -> ControlServer:
    """The control API, which answers from now on."""
    api = application(supervisor, configuration, metrics)
    control = ControlServer(plan_control(snapshot.paths, snapshot.control), api, sink)
    control.start()
    return control


def _after_change(
    shelf: Shelf, companions: Companions, supervisor: Supervisor
) -> Callable[[], None]:
    """What follows another configuration."""

    def follow() -> None:
        # First: what is started for the change finds its socket at the signer.
        companions.adopt(supervisor.snapshot)
        shelf.fill()

    return follow


async def _live(
    snapshot: Snapshot, endpoints: Endpoints, sink: Sink, stop: Stop, care: Care
) -> None:
    stop.follow_hangups(care.reload)
    supervisor = care.supervisor
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(stop.requested.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            announce(snapshot, endpoints, starting.result(), sink)
            care.begin()
            await stopping
        care.end()
        say(sink, "stopping")
    finally:
        care.cancel()
        stopping.cancel()
        starting.cancel()
        await supervisor.stop()
    say(sink, "stopped")
