"""The door's routes: which way leads from a listener to what, and what goes over it.

The door counts connections by listener, and connections and bytes by application. What several
ways share is counted once: an application's numbers are those of all its names together.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cloister.apps.status import DaemonStatus
from cloister.observe.rates import ListenerRow, Row, View

_FRESH = 60.0
"""Seconds after which ways are asked for again, although all names are the same."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way from a listener."""

    listener: str
    hosts: tuple[str, ...]
    """The names that lead there; empty where every connection does."""
    target: str
    """What is there, for people."""
    app: str | None
    """Which application that is."""


@dataclass(frozen=True, slots=True)
class WayRow:
    """One way between two moments; rates are by the second, ``None`` where nothing counts."""

    way: Way
    active: int | None
    accepted: int | None
    connections: float | None
    received: float | None
    """Bytes from clients."""
    sent: float | None
    """Bytes to clients."""


def ways(status: DaemonStatus) -> tuple[Way, ...]:
    """All of them, in the order of the listeners; an application before a hosts directory, as
    the door looks."""
    sockets = {f"to unix:{app.socket}": app.name for app in status.apps}
    found: dict[Way, None] = {}
    for one in status.listeners:
        if one.route.startswith("to "):
            app = sockets.get(one.route)
            target = one.route if app is None else f"app {app}"
            found[Way(one.name, (), target, app)] = None
            continue
        for app_status in status.apps:
            if app_status.hosts:
                way = Way(one.name, app_status.hosts, f"app {app_status.name}", app_status.name)
                found[way] = None
        if one.hosts_directory is not None:
            found[Way(one.name, (), f"names in {one.hosts_directory}", None)] = None
    return tuple(found)


def rows(
    known: Iterable[Way], apps: Mapping[str, Row], listeners: Iterable[ListenerRow]
) -> tuple[WayRow, ...]:
    """What goes over them. A listener with one way, which leads to no application, has the
    listener's own numbers; there is no count of bytes for it."""
    known = tuple(known)
    single = {one.listener for one in known}
    for way in known:
        if way.app is not None or way.target.startswith("names in "):
            single.discard(way.listener)
    counted: dict[str, list[ListenerRow]] = {}
    for listener in listeners:
        counted.setdefault(listener.name, []).append(listener)
    found = []
    for way in known:
        app = apps.get(way.app) if way.app is not None else None
        if app is not None:
            numbers = WayRow(way, app.active, app.accepted, app.connections, app.received, app.sent)
        elif way.listener in single and way.listener in counted:
            own = counted[way.listener]
            numbers = WayRow(
                way,
                sum(one.active for one in own),
                sum(one.accepted for one in own),
                sum(one.connections for one in own),
                None,
                None,
            )
        else:
            numbers = WayRow(way, None, None, None, None, None)
        found.append(numbers)
    return tuple(found)


class WayReader:
    """Asks for the ways when a name has come or gone, and now and then: a whole status of many
    applications costs what a hundred looks cost."""

    def __init__(
        self,
        status: Callable[[], DaemonStatus],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``status`` blocks, and may raise."""
        self._status = status
        self._clock = clock
        self._names: tuple[tuple[str, ...], ...] | None = None
        self._since = 0.0
        self._known: tuple[Way, ...] = ()

    def read(self, view: View) -> tuple[Way, ...]:
        """Those of this moment. Raises what ``status`` does."""
        names = (
            tuple(row.name for row in view.rows),
            tuple(f"{one.name} {one.address}" for one in view.listeners),
        )
        now = self._clock()
        if names != self._names or now - self._since > _FRESH:
            self._known = ways(self._status())
            self._names, self._since = names, now
        return self._known
