"""Stores of objects, and who gets signatures for them."""

from dataclasses import dataclass

from cloister.model.object_key import KeyPattern

LARGEST_PUT = 5 * 1024**3
"""Bytes that one PUT can have (Amazon S3, "Uploading objects")."""
LONGEST = 3600.0
"""Seconds that a signature can be good for: an upload has to begin in that time, not to end."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one asker may have signed for one store."""

    store: str
    put: tuple[KeyPattern, ...] = ()
    """Keys that it may upload to, each once."""
    get: tuple[KeyPattern, ...] = ()
    """Keys that it may download."""
    valid: float = 300.0
    """Seconds that a signature is good for."""
    largest: int = LARGEST_PUT
    """Bytes of one upload."""
    per_day: int = 100
    """Uploads that are signed within 24 hours."""


@dataclass(frozen=True, slots=True)
class UserGrant:
    """What a user of the machine may have signed."""

    user: str
    """By name or number."""
    grant: Grant


@dataclass(frozen=True, slots=True)
class Store:
    """``[signer.NAME]``: a bucket, and where its keys are."""

    name: str
    endpoint: str
    """``https://HOST[:PORT]``, as clients reach it."""
    region: str
    bucket: str
    credentials: str
    """The absolute path of a file in the form of AWS's shared credentials; the signer alone
    reads it."""
    profile: str = "default"
    """Its section that counts."""
    path_style: bool = True
    """Whether the bucket is the first part of a URL's path, instead of its host's name."""
    users: tuple[UserGrant, ...] = ()
