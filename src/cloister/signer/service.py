"""The process that alone holds the keys of S3 stores, and signs what is granted.

It is a user of its own, has no network and needs none, and nobody reads its memory. From the
supervisor it gets its sockets, its specification, and the files with the keys, open. Each asker
has a socket, and only who is that asker's user by the kernel's word gets an answer there.

=================  =================================================================
``POST /sign``     a :mod:`request <cloister.signer.grants>`; the answer is
                   ``{"method": …, "url": …, "headers": {…}, "expires": …}``
``GET /grants``    what this asker may have
=================  =================================================================

A refusal is ``{"reason": …, "what": …, "why": …, "hint": …}`` with a status of 400 and above.
"""

import asyncio
import dataclasses
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cloister import wire
from cloister.apps.rate import RateLimit
from cloister.channel import open_channel
from cloister.confinement import confine
from cloister.model.object_key import parse_key, parse_pattern
from cloister.model.signing import Grant
from cloister.signer import credentials, ledger, s3
from cloister.signer.grants import (
    PutRequest,
    Refusal,
    Request,
    choose,
    issued_already,
    parse_request,
    shown,
    too_many,
)
from cloister.signer.spec import Answered, AskerSpec, GrantSpec, Reason, SignerSpec, StoreSpec
from cloister.sockets import http_server
from cloister.sockets.http_server import Handler, HttpServer, Response

RATE = 1.0
"""Requests a second of one asker; ten times as many at once."""
BODY_MAX = 16 * 1024
"""Bytes of a request."""
EACH = 8
"""Connections at once of one asker."""
LEDGER_MAX = 512 * 1024 * 1024
"""Bytes of the file with what was signed; a line has some 120."""
_FINISHING = 1.0
"""Seconds for answers that are under way at the end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Signing:
    """What can be signed for: a bucket with its keys."""

    bucket: s3.Bucket
    credentials: s3.Credentials


class Signer:
    """Answers askers."""

    def __init__(
        self,
        stores: dict[str, Signing],
        issued: ledger.Ledger,
        tell: Callable[[Answered], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``tell`` hears of each answer."""
        self._stores = stores
        self._issued = issued
        self._tell = tell
        self._clock = clock

    def handler(self, asker: AskerSpec) -> Handler:
        """For the socket of ``asker``."""
        limit, foreign = RateLimit(RATE), RateLimit(RATE)
        grants = tuple(_grant(one) for one in asker.grants)

        async def handle(request: http_server.Request) -> Response:
            try:
                if request.peer is None or request.peer.uid != asker.uid:
                    raise _foreign(asker, None if request.peer is None else request.peer.uid)
                if not limit.take(1, time.monotonic()):
                    raise _hasty()
                match request.method, request.path:
                    case "POST", "/sign":
                        limit_report = limit.report()
                        if limit_report:
                            self._tell(_answered(asker, Reason.RATE, count=limit_report))
                        return self._sign(asker, grants, request.body)
                    case _, "/grants":
                        return _json(
                            200,
                            {
                                "kind": asker.kind,
                                "name": asker.name,
                                "grants": [dataclasses.asdict(one) for one in asker.grants],
                            },
                        )
                    case _:
                        raise _no_such_path()
            except Refusal as refusal:
                if refusal.reason is Reason.UNKNOWN_CALLER and foreign.take(1, time.monotonic()):
                    self._tell(_answered(asker, refusal.reason, count=1 + foreign.report()))
                return _refused(refusal)

        return handle

    def _sign(self, asker: AskerSpec, grants: tuple[Grant, ...], body: bytes) -> Response:
        request: Request | None = None
        try:
            request = parse_request(body)
            signed = self._signed(asker, grants, request)
        except Refusal as refusal:
            self._tell(_answered(asker, refusal.reason, request))
            return _refused(refusal)
        self._tell(_answered(asker, "signed", request, expires=signed.expires))
        return _json(
            200,
            {
                "method": signed.method,
                "url": signed.url,
                "headers": signed.headers,
                "expires": datetime.fromtimestamp(signed.expires, UTC).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
            },
        )

    def _signed(self, asker: AskerSpec, grants: tuple[Grant, ...], request: Request) -> s3.Signed:
        """Raises :class:`Refusal`."""
        now = self._clock()
        grant = choose(grants, request, now)
        store = self._stores[grant.store]
        if not isinstance(request, PutRequest):
            return s3.sign_get(
                store.bucket, store.credentials, request.key, valid=grant.valid, now=now
            )
        who = f"{asker.kind}:{asker.name}"
        mark = ledger.digest(store.bucket.endpoint, store.bucket.name, request.key.text)
        if self._issued.issued(mark):
            raise issued_already(request)
        if self._issued.count(who, grant.store, now) >= grant.per_day:
            raise too_many(grant)
        try:
            self._issued.enter(who, grant.store, mark, now)
        except OSError as error:
            raise Refusal(
                Reason.UNAVAILABLE,
                "nothing can be signed now",
                why=f"what is signed cannot be remembered: {os.strerror(error.errno or 0)}",
                hint="look at the disk of `state-directory`, then ask for another key",
            ) from error
        return s3.sign_put(
            store.bucket,
            store.credentials,
            request.key,
            size=request.size,
            sha256=request.sha256,
            valid=grant.valid,
            now=now,
        )


def _grant(spec: GrantSpec) -> Grant:
    return Grant(
        store=spec.store,
        put=tuple(parse_pattern(text) for text in spec.put),
        get=tuple(parse_pattern(text) for text in spec.get),
        valid=spec.valid_ms / 1000,
        largest=spec.largest,
        per_day=spec.per_day,
    )


def _answered(
    asker: AskerSpec,
    outcome: str,
    request: Request | None = None,
    *,
    expires: int = 0,
    count: int = 1,
) -> Answered:
    return Answered(
        kind=asker.kind,
        name=asker.name,
        outcome=str(outcome),
        operation="" if request is None else request.operation,
        store="" if request is None else shown(request.store),
        key="" if request is None else request.key.text,
        size=request.size if isinstance(request, PutRequest) else 0,
        expires=expires,
        count=count,
    )


def _foreign(asker: AskerSpec, uid: int | None) -> Refusal:
    return Refusal(
        Reason.UNKNOWN_CALLER,
        f"this socket is for the {asker.kind} {asker.name}",
        why=f"the kernel says that user {uid} asks",
        hint="ask at your own socket, as the user that the grant is for",
    )


def _hasty() -> Refusal:
    return Refusal(
        Reason.RATE,
        "too many requests",
        why=f"an asker has {RATE:g} a second, and ten times as many at once",
        hint="wait a second",
    )


def _no_such_path() -> Refusal:
    return Refusal(
        Reason.BAD_REQUEST,
        "there is nothing at this path",
        why="there is POST /sign, and GET /grants",
        hint="POST to /sign",
    )


def _refused(refusal: Refusal) -> Response:
    return _json(
        refusal.status,
        {
            "reason": refusal.reason.value,
            "what": refusal.what,
            "why": refusal.why,
            "hint": refusal.hint,
        },
    )


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(status, json.dumps(value).encode() + b"\n", "application/json")


def main() -> None:
    """Runs a signer from the specification on the descriptor that the only argument names."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        spec: SignerSpec = wire.decode(SignerSpec, file.read())
    _warm_up()
    # Each asker may have its connections, however many the others have.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    protections = confine(spec.uid, spec.gid, (), secret=True, file_size=LEDGER_MAX)
    # Only now: nobody can read them here any more.
    stores = {one.name: _signing(one) for one in spec.stores}
    try:
        issued = ledger.Ledger(spec.folder)
    except (ledger.LedgerError, OSError) as error:
        raise SystemExit(f"what was signed cannot be read: {error}") from None
    asyncio.run(_serve(spec, stores, issued, protections))


def _warm_up() -> None:
    """Has everything loaded that signing needs, while modules can be read."""
    nowhere = s3.Bucket("https://localhost", "none", "none", path_style=True)
    s3.sign_get(nowhere, s3.Credentials("none", "none"), parse_key("none"), valid=1, now=0)


def _signing(spec: StoreSpec) -> Signing:
    with os.fdopen(spec.credentials, "rb") as file:
        content = file.read(credentials.FILE_MAX + 1)
    try:
        if len(content) > credentials.FILE_MAX:
            raise credentials.CredentialsError("it is too long")
        keys = credentials.parse(content.decode(), spec.profile)
    except (UnicodeDecodeError, credentials.CredentialsError) as error:
        why = "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise SystemExit(f"no keys for {spec.name} in {spec.source}: {why}") from None
    return Signing(s3.Bucket(spec.endpoint, spec.region, spec.bucket, spec.path_style), keys)


async def _serve(
    spec: SignerSpec,
    stores: dict[str, Signing],
    issued: ledger.Ledger,
    protections: tuple[str, ...],
) -> None:
    channel = await open_channel(spec.channel)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, channel.ended.set)
    signer = Signer(stores, issued, lambda answered: channel.say(wire.encode(answered)))
    methods = frozenset({"GET", "POST"})
    most = EACH * len(spec.askers)
    server = HttpServer(_no_asker, methods=methods, max_body=BODY_MAX, most=most, each=EACH)
    for asker in spec.askers:
        await server.listen(socket.socket(fileno=asker.descriptor), signer.handler(asker))
    channel.say_ready(protections)
    await channel.ended.wait()
    await server.finish(_FINISHING)
    issued.close()


async def _no_asker(_request: http_server.Request) -> Response:
    raise AssertionError("each socket has its asker")


if __name__ == "__main__":
    main()
