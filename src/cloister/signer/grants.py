"""Who may have what signed: from a request's bytes and an asker's grants to yes, or why not.

Pure: the time is an argument, and what was issued before is asked of whoever remembers it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from cloister import wire
from cloister.model.errors import printable
from cloister.model.object_key import ObjectKey, ObjectKeyError, parse_key
from cloister.model.signing import Grant
from cloister.signer.spec import Reason
from cloister.wire import U64, Tag, WireError

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TOO_LONG_TO_SHOW = 200


_STATUS = {
    Reason.UNKNOWN_CALLER: 403,
    Reason.BAD_REQUEST: 400,
    Reason.NO_GRANT: 403,
    Reason.TOO_LARGE: 413,
    Reason.ISSUED: 409,
    Reason.PER_DAY: 429,
    Reason.RATE: 429,
    Reason.UNAVAILABLE: 503,
}


class Refusal(Exception):  # noqa: N818 - it is an answer
    """Nothing is signed."""

    def __init__(self, reason: Reason, what: str, *, why: str, hint: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what
        self.why = why
        self.hint = hint

    @property
    def status(self) -> int:
        """Of its answer in HTTP."""
        return _STATUS[self.reason]


@dataclass(frozen=True, slots=True)
class _Put:
    TAG: ClassVar[Tag] = Tag("operation", "put")
    store: str
    key: str
    size: U64
    sha256: str


@dataclass(frozen=True, slots=True)
class _Get:
    TAG: ClassVar[Tag] = Tag("operation", "get")
    store: str
    key: str


@dataclass(frozen=True, slots=True)
class PutRequest:
    """An upload that is to be signed."""

    store: str
    key: ObjectKey
    size: int
    """Bytes."""
    sha256: bytes

    operation: ClassVar[str] = "put"


@dataclass(frozen=True, slots=True)
class GetRequest:
    """A download that is to be signed."""

    store: str
    key: ObjectKey

    operation: ClassVar[str] = "get"


Request = PutRequest | GetRequest


def parse_request(body: bytes) -> Request:
    """What a request's body asks for. Raises :class:`Refusal`."""
    try:
        found: Any = wire.decode(_Put | _Get, body)
    except WireError as error:
        raise Refusal(
            Reason.BAD_REQUEST,
            "the request is none that is understood",
            why=error.what if error.why is None else f"{error.what}: {error.why}",
            hint='send {"operation": "put", "store": …, "key": …, "size": bytes, '
            '"sha256": hexadecimal digits}',
        ) from None
    try:
        key = parse_key(found.key)
    except ObjectKeyError as error:
        raise Refusal(
            Reason.BAD_REQUEST,
            f"{shown(found.key)} is no key of an object",
            why=str(error),
            hint="take letters, digits, dots and hyphens, with single slashes between them",
        ) from None
    if isinstance(found, _Get):
        return GetRequest(found.store, key)
    if _SHA256.fullmatch(found.sha256) is None:
        raise Refusal(
            Reason.BAD_REQUEST,
            "`sha256` is no SHA-256",
            why="it has 64 hexadecimal digits, in lower case",
            hint="sha256sum FILE prints it",
        )
    return PutRequest(found.store, key, found.size, bytes.fromhex(found.sha256))


def choose(grants: Iterable[Grant], request: Request, now: float) -> Grant:
    """The grant that allows ``request`` at ``now``, in seconds since 1970-01-01 UTC. Raises
    :class:`Refusal`."""
    grants = tuple(grants)
    grant = next((one for one in grants if one.store == request.store), None)
    if grant is None:
        raise Refusal(
            Reason.NO_GRANT,
            f"nothing is granted for the store {shown(request.store)}",
            why=f"what is: {', '.join(one.store for one in grants) or 'nothing'}",
            hint="add it to `sign` of the application, or to `users` of the store",
        )
    patterns = grant.put if isinstance(request, PutRequest) else grant.get
    if not any(pattern.matches(request.key, now) for pattern in patterns):
        granted = ", ".join(str(pattern) for pattern in patterns) or "nothing"
        raise Refusal(
            Reason.NO_GRANT,
            f"{request.operation} of {shown(request.key.text)} is not granted",
            why=f"`{request.operation}` of {grant.store} has: {granted}",
            hint="ask for a key of that form, or change the grant",
        )
    if isinstance(request, PutRequest) and request.size > grant.largest:
        raise Refusal(
            Reason.TOO_LARGE,
            f"{request.size} bytes are too many",
            why=f"one upload may have {grant.largest}",
            hint="upload less at once, or raise `largest` of the grant",
        )
    return grant


def issued_already(request: PutRequest) -> Refusal:
    """For a key that was signed for once."""
    return Refusal(
        Reason.ISSUED,
        f"{shown(request.key.text)} was signed for once",
        why="a key is good for one upload",
        hint="take another key; a URL that was not used is good until it expires",
    )


def too_many(grant: Grant) -> Refusal:
    """For an asker that had its share of the day."""
    return Refusal(
        Reason.PER_DAY,
        f"{grant.per_day} uploads were signed for within a day",
        why="`per-day` of the grant says so",
        hint="ask again later, or raise it",
    )


def shown(text: str) -> str:
    """A text of the asker's own for a message: short, and without what steers a terminal."""
    return printable(text if len(text) <= _TOO_LONG_TO_SHOW else f"{text[:_TOO_LONG_TO_SHOW]}…")
