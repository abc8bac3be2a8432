"""All that can fail on the way from one snapshot to the next, done before anything else is."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloister.apps.certificates import Certificates, self_signed_hosts
from cloister.apps.changes import (
    AddApp,
    KeepListener,
    OpenListener,
    Operation,
    Place,
    ReplaceApp,
    places,
)
from cloister.apps.endpoints import AppEndpoint, Endpoints, ListenerEndpoint
from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import SocketOptions
from cloister.model.snapshot import Snapshot
from cloister.sockets.bind import BoundSocket


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is there for a snapshot, and not in force yet."""

    places: dict[Place, ListenerEndpoint]
    apps: dict[str, AppEndpoint]
    certificates: Certificates


async def prepare(
    operations: Iterable[Operation],
    snapshot: Snapshot,
    endpoints: Endpoints,
    certificates: Certificates,
    *,
    identify: Callable[[App], HostIdentity],
    undo: contextlib.ExitStack,
) -> Prepared:
    """What ``operations`` need that lead from what runs to ``snapshot``. ``undo`` takes it
    back; ``endpoints`` and ``certificates`` are those in force, and stay so. Raises
    :class:`CloisterError`, as ``identify`` does, which gives the host ids of an application."""
    opened: dict[Place, ListenerEndpoint] = {}
    made: dict[str, AppEndpoint] = {}
    for operation in operations:
        match operation:
            case OpenListener(place, listener):
                opened[place] = endpoint = endpoints.open_listener(place, listener)
                undo.callback(endpoints.close_listener, place, endpoint)
            case KeepListener(place, listener, former) if former is not None:
                bound = endpoints.places[place].bound
                undo.callback(_restore, bound, former)
                bound.adjust(listener.socket)
            case AddApp(app):
                made[app.name] = new = endpoints.make_app(app, identify(app))
                undo.callback(new.close)
            case ReplaceApp(app):
                before = endpoints.apps[app.name]
                new = endpoints.make_app(app, identify(app), before)
                made[app.name] = new
                undo.callback(new.close, before)
            case _:
                pass
    return Prepared(
        places={
            place: opened.get(place)
            or ListenerEndpoint(listener.name, endpoints.places[place].bound)
            for place, listener in places(snapshot.listeners)
        },
        apps={app.name: made.get(app.name) or endpoints.apps[app.name] for app in snapshot.apps},
        certificates=await certificates.prepare(self_signed_hosts(snapshot.apps)),
    )


def _restore(bound: BoundSocket, former: SocketOptions) -> None:
    with contextlib.suppress(CloisterError):  # what could be done once, can be done again
        bound.adjust(former)
