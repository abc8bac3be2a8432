"""The process between the applications' Unix sockets and a Prometheus that speaks TCP.

It talks to applications, which may be hostile, so it is no part of the supervisor: a user of
its own, in root's case without a network to dial, without the right to gain any. From the
supervisor it gets its sockets and its specification, and asks it for Cloister's own metrics
over one channel; when that closes, it ends.

======================  ==========================================================
``/metrics``            Cloister's own metrics, and how the applications answered
``/apps/NAME/metrics``  one application's
``/sd``                 where these are, for ``http_sd_config``
======================  ==========================================================
"""

import asyncio
import encodings.idna  # noqa: F401 - ssl looks for it when this user may read no module
import hashlib
import hmac
import ipaddress
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from cloister import wire
from cloister.channel import Channel, open_channel
from cloister.confinement import confine
from cloister.observe import exposition
from cloister.observe.gateway_spec import GatewaySpec, ScrapedApp
from cloister.observe.scrape import Budget, Failure, Scraped, ScrapeError, Target, scrape
from cloister.sockets.http_server import Handler, HttpServer, Request, Response, plain

OWN_TIMEOUT = 5.0
"""Seconds that the supervisor may take for its own metrics."""
BUDGET = 256 * 1024 * 1024
"""Bytes of answers under way."""


@dataclass(slots=True)
class _Record:
    """How one application has answered."""

    target: Target
    up: bool = False
    duration: float = 0.0
    size: int = 0
    scrapes: int = 0
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Failure, 0))


class Gateway:
    """Answers scrapes."""

    def __init__(self, apps: tuple[ScrapedApp, ...], own: "OwnMetrics", token: str | None) -> None:
        """``token`` is the hash that a client's token must have."""
        self._own = own
        self._token = token
        self._budget = Budget(BUDGET)
        self._records = {app.name: _Record(_target(app)) for app in apps}
        self._running: dict[str, asyncio.Task[Scraped]] = {}

    def everything(self, *, guarded: bool) -> Handler:
        """For an address that offers all there is."""

        async def handle(request: Request) -> Response:
            if guarded and (refusal := self._refusal(request)):
                return refusal
            match request.path.strip("/").split("/"):
                case ["metrics"]:
                    return await self._all()
                case ["sd"]:
                    return self._targets(request)
                case ["apps", name, "metrics"] if name in self._records:
                    return await self._app(name)
                case ["apps", name, "metrics"]:
                    return plain(404, f"no application {name!r} has metrics")
                case _:
                    return plain(404, "there is /metrics, /apps/NAME/metrics, and /sd")

        return handle

    def only(self, name: str, *, guarded: bool) -> Handler:
        """For an address that offers the metrics of one application."""

        async def handle(request: Request) -> Response:
            if guarded and (refusal := self._refusal(request)):
                return refusal
            if request.path == "/metrics":
                return await self._app(name)
            return plain(404, "there is /metrics")

        return handle

    def _refusal(self, request: Request) -> Response | None:
        """Why a client of an address, which may be anybody, is not answered."""
        if self._token is None:
            # Nothing but loopback then. A page in a browser of this machine can ask there by
            # a name of its own that leads to 127.0.0.1; an address cannot be faked so.
            return None if _is_address(request.header(b"host")) else _MISDIRECTED
        scheme, _, token = request.header(b"authorization").partition(b" ")
        digest = hashlib.sha256(token.strip()).hexdigest()
        known = scheme.lower() == b"bearer" and hmac.compare_digest(digest, self._token)
        return None if known else _UNAUTHORIZED

    async def _app(self, name: str) -> Response:
        try:
            scraped = await self._scrape(name)
        except ScrapeError as error:
            code = 504 if error.failure is Failure.TIMEOUT else 502
            return plain(code, f"{name} gives no metrics ({error.failure}): {error}")
        return Response(200, scraped.body, scraped.content_type)

    async def _scrape(self, name: str) -> Scraped:
        """One at a time of each application: who comes meanwhile gets the same answer."""
        task = self._running.get(name)
        if task is None:
            task = asyncio.ensure_future(self._scrape_now(self._records[name]))
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def _scrape_now(self, record: _Record) -> Scraped:
        begun = time.monotonic()
        record.scrapes += 1
        record.up, record.size = False, 0
        try:
            scraped = await scrape(record.target, self._budget)
        except ScrapeError as error:
            record.failures[error.failure] += 1
            raise
        finally:
            record.duration = time.monotonic() - begun
        record.up, record.size = True, len(scraped.body)
        return scraped

    async def _all(self) -> Response:
        try:
            async with asyncio.timeout(OWN_TIMEOUT):
                own = await self._own.ask()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
            return plain(504, "the supervisor does not answer")
        text = own + exposition.render(self._families())
        return Response(200, text.encode(), exposition.CONTENT_TYPE)

    def _families(self) -> Iterator[exposition.Family]:
        named = [(exposition.labels(app=name), one) for name, one in self._records.items()]
        yield exposition.gauge(
            "cloister_scrape_up",
            "Whether the application's newest answer was metrics.",
            ((names, int(one.up)) for names, one in named if one.scrapes),
        )
        yield exposition.gauge(
            "cloister_scrape_duration_seconds",
            "How long the application took for its newest answer.",
            ((names, one.duration) for names, one in named if one.scrapes),
        )
        yield exposition.gauge(
            "cloister_scrape_size_bytes",
            "The length of the application's newest answer; 0 where it was none.",
            ((names, one.size) for names, one in named if one.scrapes),
        )
        yield exposition.counter(
            "cloister_scrapes_total",
            "How often the application was asked.",
            ((names, one.scrapes) for names, one in named),
        )
        yield exposition.counter(
            "cloister_scrape_failures_total",
            "How often the application gave no metrics, by the reason.",
            (
                ((*names, ("reason", reason)), count)
                for names, one in named
                for reason, count in one.failures.items()
            ),
        )

    def _targets(self, request: Request) -> Response:
        """Prometheus' http_sd: every target is this very address, under another path."""
        host = request.header(b"host").decode("ascii", "replace")
        apps = ((f"/apps/{name}/metrics", {"app": name}) for name in self._records)
        groups = [_group(host, path, labels) for path, labels in (("/metrics", {}), *apps)]
        return Response(200, json.dumps(groups).encode(), "application/json")


def _group(host: str, path: str, labels: dict[str, str]) -> dict[str, object]:
    # Prometheus takes __metrics_path__ as the path. Cloister's own metrics name applications
    # themselves: a label of the target's would push theirs aside.
    return {"targets": [host], "labels": {"__metrics_path__": path, **labels}}


_UNAUTHORIZED = Response(
    401,
    b"this address wants the token of [metrics]\n",
    headers=(("www-authenticate", 'Bearer realm="cloister metrics"'),),
)
_MISDIRECTED = plain(421, "without a token this is asked by its address, or as localhost")


def _is_address(host: bytes) -> bool:
    """Whether a Host header (RFC 9110, 7.2) is an IP address or ``localhost``."""
    name = re.sub(r":[0-9]*$", "", host.decode("latin-1"))
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _target(app: ScrapedApp) -> Target:
    return Target(
        socket=app.socket,
        path=app.path,
        host=app.host,
        tls=app.tls,
        proxy=app.proxy,
        timeout=app.timeout_ms / 1000,
        max_size=app.max_size,
    )


class OwnMetrics:
    """The supervisor's end of the channel: a line asks, a length and a text answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._answer: asyncio.Task[str] | None = None

    async def ask(self) -> str:
        """Cloister's own metrics, as text. Who is cancelled leaves the answer to others."""
        if self._answer is None or self._answer.done():
            self._answer = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._answer)

    async def _ask(self) -> str:
        self._channel.say(b"metrics")
        length = int(await self._channel.reader.readline())
        return (await self._channel.reader.readexactly(length)).decode()


def main() -> None:
    """Runs a gateway from the specification on the descriptor that the only argument names."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        spec: GatewaySpec = wire.decode(GatewaySpec, file.read())
    protections = confine(spec.uid, spec.gid, spec.groups)
    asyncio.run(_serve(spec, protections))


async def _serve(spec: GatewaySpec, protections: tuple[str, ...]) -> None:
    channel = await open_channel(spec.channel)
    gateway = Gateway(spec.apps, OwnMetrics(channel), spec.token_hash)
    server = HttpServer(gateway.everything(guarded=True))
    for one in spec.listeners:
        if one.app is None:
            handle = gateway.everything(guarded=one.tcp)
        else:
            handle = gateway.only(one.app, guarded=one.tcp)
        await server.listen(socket.socket(fileno=one.descriptor), handle)
    channel.say_ready(protections)
    await channel.ended.wait()
    server.close()


if __name__ == "__main__":
    main()
