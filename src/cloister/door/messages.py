"""What travels between the supervisor and ``cloister-door``.

The same schema as ``crates/proto/src/messages/door.rs``, which explains it; the messages
in ``tests/contract/door`` hold both sides to it. Durations are in milliseconds or
microseconds as the names say; indices count descriptors sent before a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, TypeVar

from cloister import wire
from cloister.model.errors import DoorError
from cloister.wire import U16, U32, U64, Tag

PROTOCOL = 4
"""The version of this schema; :class:`Ready` names the door's."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Adds the packet's descriptors to the door's pending list."""

    TAG: ClassVar[Tag] = Tag("type", "descriptors")
    id: U64


@dataclass(frozen=True, slots=True)
class Apply:
    """Replaces the running snapshot; consumes the whole pending list."""

    TAG: ClassVar[Tag] = Tag("type", "apply")
    id: U64
    snapshot: U64
    """Index of the memfd that holds the :class:`Snapshot`."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Asks for the counters."""

    TAG: ClassVar[Tag] = Tag("type", "stats")
    id: U64


@dataclass(frozen=True, slots=True)
class Drain:
    """Closes the listeners; the door exits when the last connection has ended."""

    TAG: ClassVar[Tag] = Tag("type", "drain")
    id: U64
    deadline_ms: U64


@dataclass(frozen=True, slots=True)
class Check:
    """Asks whether every worker thread answers."""

    TAG: ClassVar[Tag] = Tag("type", "check")
    id: U64
    patience_ms: U64


Request = Descriptors | Apply | Stats | Drain | Check


@dataclass(frozen=True, slots=True)
class Protection:
    """One protection that the door took on itself at start."""

    name: str
    active: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Sent once, unasked, when the door is confined and can take a snapshot."""

    TAG: ClassVar[Tag] = Tag("type", "ready")
    protocol: U32
    version: str
    confinement: tuple[Protection, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """The descriptors were taken."""

    TAG: ClassVar[Tag] = Tag("type", "received")
    id: U64


@dataclass(frozen=True, slots=True)
class Applied:
    """The snapshot is in force for every connection accepted from now on."""

    TAG: ClassVar[Tag] = Tag("type", "applied")
    id: U64
    generation: U64


@dataclass(frozen=True, slots=True)
class Refused:
    """The request changed nothing."""

    TAG: ClassVar[Tag] = Tag("type", "refused")
    id: U64
    """0 where the request could not be read."""
    reason: str


@dataclass(frozen=True, slots=True)
class ListenerStatistics:
    """Counters of one listening socket."""

    name: str
    address: str
    accepted: U64
    active: U64
    bytes_to_target: U64
    bytes_to_client: U64
    outcomes: Mapping[str, U64]
    """As :attr:`Statistics.outcomes`."""


@dataclass(frozen=True, slots=True)
class AppStatistics:
    """Counters of one application."""

    name: str
    accepted: U64
    active: U64
    bytes_to_target: U64
    bytes_to_client: U64


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long something took, how often."""

    bounds_us: tuple[U64, ...]
    """The longest duration of each bucket but the last, in rising order."""
    counts: tuple[U64, ...]
    """How many durations fell into each bucket: one more than there are bounds."""
    sum_us: U64


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters since the door started; ``active`` is a gauge."""

    generation: U64
    workers: U16
    accepted: U64
    active: U64
    bytes_to_target: U64
    bytes_to_client: U64
    log_lines_lost: U64
    accept_pauses: U64
    """How often a worker paused its listeners: descriptors or memory had run out."""
    outcomes: Mapping[str, U64]
    """By :class:`Outcome` value; what never happened may be missing."""
    hello: Histogram
    """From accept to the end of the ClientHello."""
    connect: Histogram
    """From the decision where a connection goes to the connected target."""
    answer: Histogram
    """From accept to the target's first byte."""
    listeners: tuple[ListenerStatistics, ...]
    apps: tuple[AppStatistics, ...]


@dataclass(frozen=True, slots=True)
class StatsReply:
    """The counters."""

    TAG: ClassVar[Tag] = Tag("type", "stats")
    id: U64
    stats: Statistics


@dataclass(frozen=True, slots=True)
class Draining:
    """The listeners are closed; the door exits by itself."""

    TAG: ClassVar[Tag] = Tag("type", "draining")
    id: U64
    active: U64


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether the workers answer."""

    TAG: ClassVar[Tag] = Tag("type", "checked")
    id: U64
    answering: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """Sent once, unasked, when the last connection of a drain has ended."""

    TAG: ClassVar[Tag] = Tag("type", "ended")
    stats: Statistics


Reply = Ready | Received | Applied | Refused | StatsReply | Draining | Checked | Ended


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket in the file system; an absolute path of any length."""

    TAG: ClassVar[Tag] = Tag("kind", "unix-path")
    path: str


@dataclass(frozen=True, slots=True)
class UnixAbstract:
    """A Unix socket in the abstract namespace, without the leading NUL byte."""

    TAG: ClassVar[Tag] = Tag("kind", "unix-abstract")
    name: str


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP port; the host is an address without brackets, or a name."""

    TAG: ClassVar[Tag] = Tag("kind", "tcp")
    host: str
    port: U16


@dataclass(frozen=True, slots=True)
class Vsock:
    """A port of a virtual machine or of its host."""

    TAG: ClassVar[Tag] = Tag("kind", "vsock")
    cid: U32
    port: U32


@dataclass(frozen=True, slots=True)
class Srv:
    """The TCP ports that a DNS service record names."""

    TAG: ClassVar[Tag] = Tag("kind", "srv")
    name: str


Target = UnixPath | UnixAbstract | Tcp | Vsock | Srv


class Balance(Enum):
    """Which address of a target with several comes first for the next connection."""

    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"


class SendProxy(Enum):
    """Which PROXY protocol header precedes the client's bytes."""

    NONE = "none"
    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class TargetRoute:
    """Every connection to one target; the bytes are not looked at."""

    TAG: ClassVar[Tag] = Tag("kind", "target")
    target: Target
    send_proxy: SendProxy
    balance: Balance


@dataclass(frozen=True, slots=True)
class HostsDirectory:
    """One folder per hostname, looked up for each connection."""

    path: str
    """For messages only."""
    descriptor: U64
    """Index of its descriptor, opened ``O_PATH | O_DIRECTORY``."""
    hashed: bool
    """Whether its folders are called by the hashes of the hostnames."""


@dataclass(frozen=True, slots=True)
class ServerNameRoute:
    """By the TLS server name: :attr:`Snapshot.hosts` first, then the directory."""

    TAG: ClassVar[Tag] = Tag("kind", "server-name")
    directory: HostsDirectory | None


Route = TargetRoute | ServerNameRoute


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one listener."""

    connections: U32
    connections_per_client: U32
    connections_per_host: U32
    hello_timeout_ms: U32
    connect_timeout_ms: U32
    idle_timeout_ms: U32
    """0: none."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When the kernel probes a silent TCP peer (tcp(7))."""

    idle_s: U32
    interval_s: U32
    probes: U32


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket."""

    name: str
    address: str
    descriptor: U64
    """Index of its descriptor."""
    route: Route
    accept_proxy: tuple[str, ...]
    """Whose connections begin with a PROXY header: networks, ``unix``, ``unix:UID``."""
    limits: Limits
    keepalive: Keepalive | None
    """Towards clients and a TCP target; ``None`` leaves the sockets as they came."""


class Delivery(Enum):
    """How a target gets a client's connection."""

    RELAY = "relay"
    HANDOFF = "handoff"
    """The connection itself, by ``SCM_RIGHTS``; the target is a ``SOCK_SEQPACKET`` socket."""


@dataclass(frozen=True, slots=True)
class HostRoute:
    """One entry of the routing table."""

    host: str
    app: str | None
    target: Target
    send_proxy: SendProxy
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the door needs to know; replaced as a whole."""

    generation: U64
    workers: U16
    log_connections: bool
    listeners: tuple[Listener, ...]
    hosts: tuple[HostRoute, ...]


class Outcome(Enum):
    """How a connection ended."""

    COMPLETE = "complete"
    CLIENT_ABORTED = "client-aborted"
    TARGET_ABORTED = "target-aborted"
    REFUSED_LIMIT = "refused-limit"
    REFUSED_CLIENT_LIMIT = "refused-client-limit"
    REFUSED_HOST_LIMIT = "refused-host-limit"
    REFUSED_PROXY = "refused-proxy"
    REFUSED_HELLO = "refused-hello"
    REFUSED_NAME = "refused-name"
    HELLO_TIMEOUT = "hello-timeout"
    HELLO_INCOMPLETE = "hello-incomplete"
    TARGET_UNREACHABLE = "target-unreachable"
    TARGET_TIMEOUT = "target-timeout"
    IDLE_TIMEOUT = "idle-timeout"
    HANDED_OFF = "handed-off"
    DRAINED = "drained"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """One line of the connection log."""

    time_us: U64
    """When it ended: microseconds since 1970-01-01 00:00 UTC."""
    listener: str
    client: str
    name: str | None
    alpn: tuple[str, ...]
    app: str | None
    target: str | None
    bytes_to_target: U64
    bytes_to_client: U64
    duration_us: U64
    """From accept to the end."""
    outcome: Outcome
    reason: str | None


T = TypeVar("T")


def encode(message: Request | Reply | Snapshot | ConnectionRecord) -> bytes:
    """The message as compact JSON; raises :class:`DoorError` for text that is no Unicode."""
    try:
        return wire.encode(message)
    except wire.WireError as error:
        raise _door_error("a message to the door cannot be written", error) from error


def decode(kind: type[T], data: bytes) -> T:
    """A message of one dataclass, for example a :class:`ConnectionRecord`.

    Raises :class:`DoorError` that names the place inside the message.
    """
    return _decode(kind, data)  # type: ignore[no-any-return]


def decode_request(data: bytes) -> Request:
    """A request; raises :class:`DoorError` that names the place inside the message."""
    return _decode(Request, data)  # type: ignore[no-any-return]


def decode_reply(data: bytes) -> Reply:
    """A reply; raises :class:`DoorError` that names the place inside the message."""
    return _decode(Reply, data)  # type: ignore[no-any-return]


def _decode(kind: Any, data: bytes) -> Any:
    try:
        return wire.decode(kind, data)
    except wire.WireError as error:
        raise _door_error("a message of the door cannot be read", error) from error


def _door_error(what: str, error: wire.WireError) -> DoorError:
    why = error.what if error.why is None else f"{error.what}: {error.why}"
    hint = error.hint or "check that cloister and cloister-door are of the same version"
    return DoorError(what, why=why, hint=hint)
