"""From counters at moments to what is going on: rates, history, order. No I/O, no clock."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cloister.apps.brief import AppBrief, Brief
from cloister.observe.usage import Usage

HISTORY = 60
"""Values that are kept for a sparkline."""


@dataclass(frozen=True, slots=True)
class Row:
    """One application between two moments; rates are by the second."""

    name: str
    state: str
    restarts: int
    usage: Usage
    cpu: float | None
    """Processors kept busy: 1.5 is one and a half."""
    io_read: float | None
    io_write: float | None
    throttled: float | None
    """Seconds of waiting for ``cpu-max``, in each second."""
    active: int
    accepted: int
    bytes_to_target: int
    bytes_to_client: int
    connections: float
    """Connections begun."""
    received: float
    """Bytes from clients."""
    sent: float
    """Bytes to clients."""

    @property
    def io(self) -> float:
        """Bytes to and from disks."""
        return (self.io_read or 0) + (self.io_write or 0)


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """One listening address."""

    name: str
    address: str
    accepted: int
    active: int
    refused: int
    connections: float
    refusals: float


@dataclass(frozen=True, slots=True)
class View:
    """Everything between two moments."""

    seconds: float
    """How far they are apart."""
    door_state: str
    listeners: tuple[ListenerRow, ...]
    rows: tuple[Row, ...]


Key = Callable[[Row], tuple[float, str] | tuple[str, str]]

ORDERS: Mapping[str, Key] = {
    "cpu": lambda row: (-(row.cpu or 0.0), row.name),
    "memory": lambda row: (-(row.usage.memory_bytes or 0), row.name),
    "io": lambda row: (-row.io, row.name),
    "tasks": lambda row: (-(row.usage.tasks or 0), row.name),
    "open": lambda row: (-row.active, row.name),
    "connections": lambda row: (-row.connections, row.name),
    "bytes": lambda row: (-(row.received + row.sent), row.name),
    "throttled": lambda row: (-(row.throttled or 0.0), row.name),
    "oom": lambda row: (-(row.usage.oom_kills or 0), row.name),
    "restarts": lambda row: (-row.restarts, row.name),
    "state": lambda row: (row.state, row.name),
    "name": lambda row: (row.name, ""),
}
"""By what rows can be sorted; each puts first what one looks for."""


@dataclass(slots=True)
class Observation:
    """Takes moments, keeps the one before and the history of each application."""

    _before: Brief | None = None
    _usage: dict[str, Usage] = field(default_factory=dict)
    history: dict[str, deque[float]] = field(default_factory=dict)
    """Processors kept busy, the newest last."""

    def add(self, brief: Brief, usage: Mapping[str, Usage]) -> View:
        """One more moment; the first has no rates."""
        before = self._before
        seconds = brief.time - before.time if before is not None else 0.0
        known = {one.name: one for one in before.apps} if before is not None else {}
        rows = tuple(
            _row(app, known.get(app.name), usage[app.name], self._usage.get(app.name), seconds)
            for app in brief.apps
        )
        listeners = _listeners(brief, before, seconds)
        for row in rows:
            if row.cpu is not None:
                self.history.setdefault(row.name, deque(maxlen=HISTORY)).append(row.cpu)
        for gone in self.history.keys() - {row.name for row in rows}:
            del self.history[gone]
        self._before, self._usage = brief, dict(usage)
        return View(seconds, brief.door_state, listeners, rows)


def _row(
    app: AppBrief, before: AppBrief | None, now: Usage, earlier: Usage | None, seconds: float
) -> Row:
    earlier = earlier or Usage()

    def used(name: str) -> float | None:
        return _rate(getattr(now, name), getattr(earlier, name), seconds)

    def moved(name: str) -> float:
        earlier = None if before is None else getattr(before, name)
        return _rate(getattr(app, name), earlier, seconds) or 0.0

    return Row(
        name=app.name,
        state=app.state,
        restarts=app.restarts,
        usage=now,
        cpu=used("cpu_seconds"),
        io_read=used("io_read_bytes"),
        io_write=used("io_write_bytes"),
        throttled=used("throttled_seconds"),
        active=app.active,
        accepted=app.accepted,
        bytes_to_target=app.bytes_to_target,
        bytes_to_client=app.bytes_to_client,
        connections=moved("accepted"),
        received=moved("bytes_to_target"),
        sent=moved("bytes_to_client"),
    )


def _listeners(brief: Brief, before: Brief | None, seconds: float) -> tuple[ListenerRow, ...]:
    known = {(one.name, one.address): one for one in (before.listeners if before else ())}
    rows = []
    for one in brief.listeners:
        earlier = known.get((one.name, one.address))
        rows.append(
            ListenerRow(
                name=one.name,
                address=one.address,
                accepted=one.accepted,
                active=one.active,
                refused=one.refused,
                connections=_rate(one.accepted, earlier and earlier.accepted, seconds) or 0.0,
                refusals=_rate(one.refused, earlier and earlier.refused, seconds) or 0.0,
            )
        )
    return tuple(rows)


def _rate(now: float | None, earlier: float | None, seconds: float) -> float | None:
    """By the second; a counter that went back began anew, and is not known this time."""
    if now is None or earlier is None or seconds <= 0 or now < earlier:
        return None
    return (now - earlier) / seconds


def ordered(rows: Iterable[Row], order: str, *, backwards: bool = False) -> list[Row]:
    """Sorted by one of :data:`ORDERS`."""
    return sorted(rows, key=ORDERS[order], reverse=backwards)


_BLOCKS = " ▁▂▃▄▅▆▇█"


def sparkline(values: Iterable[float], width: int, *, top: float | None = None) -> str:
    """The newest ``width`` values, the newest at the right; full height is ``top``, or the
    largest of them."""
    newest = list(values)[-width:]
    highest = max([*newest, 0.0]) if top is None else top
    if highest <= 0:
        return (_BLOCKS[1] * len(newest)).rjust(width)
    steps = len(_BLOCKS) - 2
    marks = (_BLOCKS[1 + min(steps, round(max(0.0, value) / highest * steps))] for value in newest)
    return "".join(marks).rjust(width)


def size(count: float | None) -> str:
    """Bytes in at most five columns: ``0``, ``999``, ``1.0K``, ``12M``."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("", "K", "M", "G", "T", "P"):
        if value < 999.5 or unit == "P":
            return f"{value:.0f}{unit}" if value >= 9.95 or not unit else f"{value:.1f}{unit}"
        value /= 1024
    return "-"
