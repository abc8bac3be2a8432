"""From the configuration to what the door is told."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from cloister.door import messages
from cloister.model.app import Endpoint
from cloister.model.errors import CloisterError
from cloister.model.listener import Keepalive, Listener, ListenerLimits
from cloister.model.route import (
    SendProxy,
    ServerNameRoute,
    SrvTarget,
    Target,
    TargetRoute,
    TcpTarget,
    UnixAbstractTarget,
    UnixPathTarget,
    VsockTarget,
)
from cloister.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A bound socket of one ``[listeners.NAME]``."""

    listener: str
    """The listener's name."""
    address: str
    """Its address for people, with the port that the kernel chose."""
    descriptor: int
    """A listening ``SOCK_STREAM`` socket. The caller keeps it."""


def door_snapshot(
    snapshot: Snapshot,
    generation: int,
    listeners: Sequence[ListeningSocket],
    app_targets: Mapping[str, Target],
    *,
    directories: Mapping[str, int] | None = None,
) -> tuple[messages.Snapshot, list[int]]:
    """The door's snapshot, and the descriptors that its indices count.

    ``app_targets`` has each application's socket by the application's name;
    ``directories`` each hosts directory's descriptor by its path, as
    :func:`open_hosts_directories` gives them. Nothing is opened or closed here, and a
    descriptor stands in the list once however often it is used.
    """
    descriptors: list[int] = []

    def index(descriptor: int) -> int:
        if descriptor not in descriptors:
            descriptors.append(descriptor)
        return descriptors.index(descriptor)

    by_name = {listener.name: listener for listener in snapshot.listeners}
    routes = {
        listener.name: _route(listener, index, directories or {}) for listener in snapshot.listeners
    }
    return (
        messages.Snapshot(
            generation=generation,
            workers=snapshot.door.workers or len(os.sched_getaffinity(0)),
            log_connections=snapshot.door.log_connections,
            listeners=tuple(
                messages.Listener(
                    name=bound.listener,
                    address=bound.address,
                    descriptor=index(bound.descriptor),
                    route=routes[bound.listener],
                    accept_proxy=by_name[bound.listener].accept_proxy,
                    limits=_limits(by_name[bound.listener].limits),
                    keepalive=_keepalive(by_name[bound.listener].keepalive),
                )
                for bound in listeners
            ),
            hosts=tuple(
                messages.HostRoute(
                    host=host,
                    app=app.name,
                    target=_target(app_targets[app.name]),
                    send_proxy=_send_proxy(app.send_proxy),
                    delivery=_delivery(app.endpoint),
                )
                for app in snapshot.apps
                for host in app.hosts
            ),
        ),
        descriptors,
    )


@contextmanager
def open_hosts_directories(snapshot: Snapshot) -> Iterator[dict[str, int]]:
    """Every hosts directory of the listeners, opened ``O_PATH`` for as long as the block runs.

    Raises :class:`CloisterError` for one that cannot be opened.
    """
    paths = {
        listener.route.hosts_directory
        for listener in snapshot.listeners
        if isinstance(listener.route, ServerNameRoute)
        and listener.route.hosts_directory is not None
    }
    with ExitStack() as stack:
        directories = {}
        for path in sorted(paths):
            try:
                descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise CloisterError(
                    f"the hosts directory {path} cannot be opened",
                    why=os.strerror(error.errno or 0),
                    hint="make it, or correct `hosts` in the listener's route",
                ) from error
            stack.callback(os.close, descriptor)
            directories[path] = descriptor
        yield directories


def _route(
    listener: Listener, index: Callable[[int], int], directories: Mapping[str, int]
) -> messages.Route:
    route = listener.route
    if isinstance(route, TargetRoute):
        return messages.TargetRoute(
            _target(route.target),
            _send_proxy(route.send_proxy),
            messages.Balance(route.balance.value),
        )
    path = route.hosts_directory
    if path is None:
        return messages.ServerNameRoute(None)
    directory = messages.HostsDirectory(path, index(directories[path]), route.hashed)
    return messages.ServerNameRoute(directory)


def _target(target: Target) -> messages.Target:
    match target:
        case UnixPathTarget(path):
            return messages.UnixPath(path)
        case UnixAbstractTarget(name):
            return messages.UnixAbstract(name)
        case TcpTarget(host, port):
            return messages.Tcp(host, port)
        case VsockTarget(cid, port):
            return messages.Vsock(cid, port)
        case SrvTarget(name):
            return messages.Srv(name)


def target_kinds(snapshot: Snapshot) -> frozenset[str]:
    """What the door must be allowed beyond Unix sockets with a path: its ``--targets``."""
    kinds: set[str] = set()
    for listener in snapshot.listeners:
        if isinstance(listener.route, TargetRoute):
            kinds |= _kinds(listener.route.target)
    return frozenset(kinds)


def _kinds(target: Target) -> set[str]:
    match target:
        case UnixPathTarget():
            return set()
        case UnixAbstractTarget():
            return {"abstract"}
        case VsockTarget():
            return {"vsock"}
        case TcpTarget() if target.is_literal:
            return {"tcp"}
        case TcpTarget() | SrvTarget():
            return {"tcp", "names"}


def _keepalive(keepalive: Keepalive | None) -> messages.Keepalive | None:
    if keepalive is None:
        return None
    return messages.Keepalive(keepalive.idle, keepalive.interval, keepalive.probes)


def _send_proxy(send_proxy: SendProxy) -> messages.SendProxy:
    return messages.SendProxy(send_proxy.value)


def _delivery(endpoint: Endpoint) -> messages.Delivery:
    if endpoint is Endpoint.HANDOFF:
        return messages.Delivery.HANDOFF
    return messages.Delivery.RELAY


def _limits(limits: ListenerLimits) -> messages.Limits:
    return messages.Limits(
        connections=limits.connections,
        connections_per_client=limits.connections_per_client,
        connections_per_host=limits.connections_per_host,
        hello_timeout_ms=_milliseconds(limits.hello_timeout),
        connect_timeout_ms=_milliseconds(limits.connect_timeout),
        idle_timeout_ms=_milliseconds(limits.idle_timeout) if limits.idle_timeout else 0,
    )


def _milliseconds(seconds: float) -> int:
    """At least one: the door would take 0 for "at once"."""
    return max(1, round(seconds * 1000))
