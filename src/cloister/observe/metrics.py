"""The supervisor's and the door's own metrics, from what the supervisor knows of itself.

Names and units follow Prometheus' conventions: base units, ``_total`` for what only grows.
The values of labels are names and paths of the configuration, addresses that it listens on, and
words of Cloister's own: nothing that a client or an application could make more of.
"""

from collections.abc import Iterable, Iterator, Mapping

from cloister.apps.machine import State
from cloister.apps.status import (
    AppStatus,
    DaemonStatus,
    DoorStatus,
    EgressStatus,
    ListenerStatus,
)
from cloister.cells.cgroups.counters import Counters, Usage
from cloister.cells.quotas.bounds import DiskUsage
from cloister.door.messages import Histogram, Outcome
from cloister.observe.exposition import (
    Family,
    Labels,
    by,
    counter,
    gauge,
    histogram,
    labels,
    render,
)

_OUTCOMES = dict.fromkeys((outcome.value for outcome in Outcome), 0)
"""What never happened is a 0 from the start: the first time would be no rise otherwise."""

Numbers = list[tuple[Labels, float]]


Answered = Mapping[tuple[str, str, str], int]
"""How often the signer gave each asker, by kind and name, each outcome."""


def text(status: DaemonStatus, answered: Answered | None = None) -> str:
    """Everything that ``status`` says, and what the signer has answered, in the text format."""
    return render((*families(status), *_signer(answered or {})))


def families(status: DaemonStatus) -> Iterator[Family]:
    """The same as values. What no door was there to count is left out."""
    yield from _supervisor(status)
    yield from _door(status.door)
    yield from _listeners(status.listeners)
    yield from _apps(status.apps)


def _signer(answered: Answered) -> Iterator[Family]:
    found = [
        (((kind, name), ("outcome", outcome)), count)
        for (kind, name, outcome), count in answered.items()
    ]
    yield counter(
        "cloister_signer_answers_total",
        "What the signer has answered to each application or user: signed, or why not.",
        found,
    )


def _supervisor(status: DaemonStatus) -> Iterator[Family]:
    version = labels(version=status.version)
    yield gauge("cloister_build_info", "The version that runs; always 1.", [(version, 1)])
    yield gauge(
        "cloister_start_time_seconds",
        "When the supervisor started, in seconds since 1970-01-01 UTC.",
        [((), status.since)],
    )


def _door(door: DoorStatus) -> Iterator[Family]:
    yield _ready("cloister_door_ready", "Whether the door serves.", [((), door.state)])
    yield _state("cloister_door_state", "The door's state, as a label.", [((), door.state)])
    yield _one(
        "cloister_door_restarts_total", "Doors made after one that had ended.", door.restarts
    )
    yield _one(
        "cloister_door_replacements_total",
        "Doors made after one that was still running.",
        door.replacements,
    )
    yield gauge(
        "cloister_door_draining", "Replaced doors with connections left.", [((), door.draining)]
    )
    yield gauge(
        "cloister_door_protection_active",
        "Whether the door has taken each protection on itself.",
        ((labels(protection=one.name), int(one.active)) for one in door.protections),
    )
    yield gauge("cloister_door_workers", "Threads that relay.", _known(door.workers))
    yield counter(
        "cloister_door_connections_accepted_total",
        "Connections accepted.",
        _known(door.accepted),
    )
    yield gauge("cloister_door_connections", "Connections that are open.", _known(door.active))
    yield counter(
        "cloister_door_connections_ended_total",
        "Connections that have ended, by how they did; refusals are among them.",
        _outcomes(door.outcomes, known=door.accepted is not None),
    )
    yield counter(
        "cloister_door_relayed_bytes_total",
        "Bytes relayed.",
        _directions((), door.bytes_to_target, door.bytes_to_client),
    )
    yield counter(
        "cloister_door_log_lines_lost_total",
        "Lines of the connection log that its reader was too slow for.",
        _known(door.log_lines_lost),
    )
    yield counter(
        "cloister_door_accept_pauses_total",
        "Times at which a worker took no connections: descriptors or memory had run out.",
        _known(door.accept_pauses),
    )
    yield from _durations(
        "cloister_door_hello_seconds", "From accept to the end of the ClientHello.", door.hello
    )
    yield from _durations(
        "cloister_door_connect_seconds",
        "From the decision where a connection goes to the connected target.",
        door.connect,
    )
    yield from _durations(
        "cloister_door_answer_seconds", "From accept to the target's first byte.", door.answer
    )


def _listeners(listeners: Iterable[ListenerStatus]) -> Iterator[Family]:
    accepted: Numbers = []
    active: Numbers = []
    ended: Numbers = []
    relayed: Numbers = []
    for one in listeners:
        names = labels(listener=one.name, address=one.address)
        accepted += _known(one.accepted, names)
        active += _known(one.active, names)
        ended += _outcomes(one.outcomes, names, known=one.accepted is not None)
        relayed += _directions(names, one.bytes_to_target, one.bytes_to_client)
    yield counter(
        "cloister_listener_connections_accepted_total",
        "Connections accepted, by listening address.",
        accepted,
    )
    yield gauge(
        "cloister_listener_connections", "Connections that are open, by listening address.", active
    )
    yield counter(
        "cloister_listener_connections_ended_total",
        "Connections that have ended, by listening address and by how they did.",
        ended,
    )
    yield counter(
        "cloister_listener_relayed_bytes_total", "Bytes relayed, by listening address.", relayed
    )


def _apps(apps: tuple[AppStatus, ...]) -> Iterator[Family]:
    named = [(labels(app=app.name), app) for app in apps]
    states = [(names, app.state) for names, app in named]
    yield _ready("cloister_app_ready", "Whether the application serves.", states)
    yield _state("cloister_app_state", "The application's state, as a label.", states)
    yield gauge(
        "cloister_app_state_changed_timestamp_seconds",
        "When the application entered its state, in seconds since 1970-01-01 UTC.",
        ((names, app.since) for names, app in named),
    )
    yield counter(
        "cloister_app_restarts_total",
        "Processes of the application made beyond the first.",
        ((names, app.restarts) for names, app in named),
    )
    counted = [(names, app.traffic) for names, app in named if app.traffic is not None]
    yield counter(
        "cloister_app_connections_accepted_total",
        "Connections routed to the application.",
        ((names, traffic.accepted) for names, traffic in counted),
    )
    yield gauge(
        "cloister_app_connections",
        "Connections to the application that are open.",
        ((names, traffic.active) for names, traffic in counted),
    )
    relayed: Numbers = []
    for names, traffic in counted:
        relayed += _directions(names, traffic.bytes_to_target, traffic.bytes_to_client)
    yield counter("cloister_app_relayed_bytes_total", "Bytes relayed.", relayed)
    yield from _egress([(names, one) for names, app in named for one in app.egress])
    resources = [(names, app.resources) for names, app in named if app.resources is not None]
    yield from _usage([(names, one.usage) for names, one in resources])
    yield from _limits([(names, one.counters) for names, one in resources])
    yield gauge(
        "cloister_app_gives_way",
        "Whether the application waits for the others: it uses more than its share of busy "
        "processors.",
        ((names, int(one.gives_way)) for names, one in resources),
    )
    yield gauge(
        "cloister_app_slowed",
        "Whether the application is slowed down: its processes are killed for lack of memory "
        "again and again.",
        ((names, int(one.slowed)) for names, one in resources),
    )
    yield from _stored([(names, disk) for names, one in resources for disk in one.disks])


def _egress(found: list[tuple[Labels, EgressStatus]]) -> Iterator[Family]:
    ways = [((*names, ("way", one.name)), one) for names, one in found]
    yield counter(
        "cloister_app_egress_connections_accepted_total",
        "Connections of the application to its ways out.",
        ((names, one.accepted) for names, one in ways),
    )
    yield gauge(
        "cloister_app_egress_connections",
        "Connections of the application to its ways out that are open.",
        ((names, one.active) for names, one in ways),
    )
    yield counter(
        "cloister_app_egress_failures_total",
        "Connections of the application that did not come to where its way out leads.",
        ((names, one.failed) for names, one in ways),
    )
    relayed: Numbers = []
    for names, one in ways:
        relayed += _directions(names, one.bytes_to_target, one.bytes_to_client)
    yield counter("cloister_app_egress_relayed_bytes_total", "Bytes relayed.", relayed)


def _usage(found: list[tuple[Labels, Usage]]) -> Iterator[Family]:
    yield counter(
        "cloister_app_cpu_seconds_total",
        "Processor time of all processes of the application.",
        _sampled((names, one.cpu_seconds) for names, one in found),
    )
    yield gauge(
        "cloister_app_memory_bytes",
        "Memory of the application, page cache of its files included.",
        _sampled((names, one.memory_bytes) for names, one in found),
    )
    yield gauge(
        "cloister_app_memory_peak_bytes",
        "The most memory that the application had.",
        _sampled((names, one.memory_peak_bytes) for names, one in found),
    )
    moved: Numbers = []
    for names, one in found:
        for direction, count in (("read", one.io_read_bytes), ("write", one.io_write_bytes)):
            moved += _known(count, (*names, ("direction", direction)))
    yield counter("cloister_app_disk_bytes_total", "Bytes from and to disks.", moved)
    yield gauge(
        "cloister_app_tasks",
        "Processes and threads of the application.",
        _sampled((names, one.tasks) for names, one in found),
    )


def _stored(found: list[tuple[Labels, DiskUsage]]) -> Iterator[Family]:
    placed = [((*names, ("place", disk.place)), disk) for names, disk in found]
    yield gauge(
        "cloister_app_stored_bytes",
        "What the application has on a disk where it has a limit.",
        ((names, disk.bytes) for names, disk in placed),
    )
    yield gauge(
        "cloister_app_stored_bytes_limit",
        "What it may have there.",
        ((names, disk.bytes_limit) for names, disk in placed if disk.bytes_limit),
    )
    yield gauge(
        "cloister_app_stored_files",
        "Files, folders and links that the application has on a disk where it has a limit.",
        ((names, disk.files) for names, disk in placed),
    )
    yield gauge(
        "cloister_app_stored_files_limit",
        "How many it may have there.",
        ((names, disk.files_limit) for names, disk in placed if disk.files_limit),
    )


def _limits(found: list[tuple[Labels, Counters]]) -> Iterator[Family]:
    yield counter(
        "cloister_app_oom_kills_total",
        "Processes that the kernel killed for lack of memory.",
        ((names, one.oom_kills) for names, one in found),
    )
    yield counter(
        "cloister_app_memory_high_total",
        "Times at which the application was slowed down for its memory.",
        ((names, one.memory_high) for names, one in found),
    )
    yield counter(
        "cloister_app_tasks_refused_total",
        "Processes and threads that its limit did not let be made.",
        ((names, one.pids_refused) for names, one in found),
    )
    yield counter(
        "cloister_app_throttled_periods_total",
        "Periods of 100 ms in which its processor limit was used up.",
        ((names, one.throttled_periods) for names, one in found),
    )
    yield counter(
        "cloister_app_throttled_seconds_total",
        "Time for which its processor limit made it wait.",
        ((names, one.throttled_seconds) for names, one in found),
    )


def _sampled(pairs: Iterable[tuple[Labels, float | None]]) -> Numbers:
    return [(names, value) for names, value in pairs if value is not None]


def _ready(name: str, text: str, found: Iterable[tuple[Labels, str]]) -> Family:
    return gauge(name, text, ((n, int(state == State.READY.value)) for n, state in found))


def _state(name: str, text: str, found: Iterable[tuple[Labels, str]]) -> Family:
    """One sample, with the state as a label: one for each state that there is would be twelve
    for each application."""
    return gauge(name, text, (((*names, ("state", state)), 1) for names, state in found))


def _outcomes(found: dict[str, int], names: Labels = (), *, known: bool) -> Numbers:
    return list(by("outcome", {**_OUTCOMES, **found}, beside=names)) if known else []


def _one(name: str, text: str, value: float) -> Family:
    return counter(name, text, [((), value)])


def _known(value: float | None, names: Labels = ()) -> Numbers:
    return [] if value is None else [(names, value)]


def _directions(names: Labels, to_target: int | None, to_client: int | None) -> Numbers:
    if to_target is None or to_client is None:
        return []
    directions = {"to_target": to_target, "to_client": to_client}
    return list(by("direction", directions, beside=names))


def _durations(name: str, text: str, found: Histogram | None) -> Iterator[Family]:
    # One that no door has answered for has no buckets.
    if found is not None and found.counts:
        bounds = (bound / 1_000_000 for bound in found.bounds_us)
        yield histogram(name, text, bounds, found.counts, found.sum_us / 1_000_000)
