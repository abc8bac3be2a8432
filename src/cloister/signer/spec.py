"""What the supervisor tells the signer at its start, and what that tells while it runs: JSON."""

from dataclasses import dataclass
from enum import StrEnum

from cloister.wire import U32, U64


class Reason(StrEnum):
    """Why nothing is signed. Stable: metrics and clients go by it."""

    UNKNOWN_CALLER = "unknown-caller"
    BAD_REQUEST = "bad-request"
    NO_GRANT = "no-grant"
    TOO_LARGE = "too-large"
    ISSUED = "issued"
    PER_DAY = "per-day"
    RATE = "rate"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """One bucket. No key is in it: ``credentials`` is an open file."""

    name: str
    endpoint: str
    region: str
    bucket: str
    path_style: bool
    credentials: U32
    """The descriptor of the file with its keys."""
    source: str
    """What that file is called, for messages."""
    profile: str


@dataclass(frozen=True, slots=True)
class GrantSpec:
    """What one asker may have signed for one store."""

    store: str
    put: tuple[str, ...]
    get: tuple[str, ...]
    valid_ms: U32
    largest: U64
    per_day: U32


@dataclass(frozen=True, slots=True)
class AskerSpec:
    """Who asks at one socket."""

    kind: str
    """``app`` or ``user``."""
    name: str
    uid: U32
    """Whoever connects as somebody else gets nothing."""
    descriptor: U32
    """The number of the listening socket in the signer."""
    grants: tuple[GrantSpec, ...]


@dataclass(frozen=True, slots=True)
class SignerSpec:
    """The whole."""

    uid: U32 | None
    """Whom to become; ``None``: stay."""
    gid: U32 | None
    channel: U32
    """The descriptor that leads to the supervisor."""
    folder: U32
    """The descriptor of the folder that is the signer's own."""
    stores: tuple[StoreSpec, ...]
    askers: tuple[AskerSpec, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """One request, as the signer tells of it."""

    kind: str
    name: str
    outcome: str
    """``signed``, or the reason of a refusal."""
    operation: str
    store: str
    key: str
    """As far as they were understood."""
    size: U64
    expires: U64
    """When the signature ends, in seconds since 1970-01-01 UTC; 0 for a refusal."""
    count: U32
    """How many are told of together."""
