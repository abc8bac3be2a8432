"""The gateway as a program that the supervisor keeps alive, and its listening sockets."""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cloister import wire
from cloister.apps.companion import Companion, start_companion
from cloister.apps.companion_service import CompanionService
from cloister.apps.kept import Kept
from cloister.apps.lines import Line
from cloister.apps.logs import LogEvent, Sink
from cloister.apps.service import ServicePlan
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Address, SocketOptions, UnixAddress
from cloister.model.snapshot import Snapshot
from cloister.observe.gateway_spec import GatewayListener, GatewaySpec, scraped_apps, token_hash
from cloister.sockets.bind import BoundSocket

MODULE = "cloister.observe.gateway"
KIND = "metrics"
"""What its sockets are called where they are kept."""
IDENTITY = "metrics.gateway"
"""Its name among those who have ids; no application has a dot in its name."""
_FRESH = 0.5
"""Seconds for which an answer of the supervisor's serves again."""

Metrics = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where metrics are asked for."""

    app: str | None
    """Those of one application, or of everything."""
    address: Address
    options: SocketOptions

    @property
    def kept_as(self) -> str:
        return f"{KIND} {self.app or '*'} {self.address}"


class MetricsGateway:
    """Owns the gateway's sockets and keeps the gateway running. Lives on one event loop."""

    def __init__(
        self,
        snapshot: Snapshot,
        identify: Callable[[], HostIdentity | None],
        door: HostIdentity,
        metrics: Metrics,
        sink: Sink,
        *,
        kept: Kept | None = None,
    ) -> None:
        """Binds. ``identify`` says whom the gateway becomes, ``None`` for nobody else, and is
        asked once there is one; ``door`` is whom the applications' sockets are open to.
        ``kept`` is where the sockets of a last supervisor are found, and kept for the next
        one: a gateway ends with its supervisor, and whoever asks meanwhile waits.
        Raises :class:`CloisterError`.
        """
        self._snapshot = snapshot
        self._identify = identify
        self._door = door
        self._metrics = metrics
        self._sink = sink
        self._service = CompanionService[_Place](
            ServicePlan("metrics", self._launch, ready_timeout=20.0, stop_timeout=2.0),
            sink,
            kept,
            matters=self._matters,
            on_bind=self._say_bound,
        )
        self._service.bind(_places(snapshot))

    def _say_bound(self, place: _Place, bound: BoundSocket) -> None:
        message = f"metrics of {place.app or 'everything'} are asked for at {bound.address}"
        self._sink.emit(LogEvent("cloister", message))

    def start(self) -> None:
        """Have it run. Without an address there is nothing to run."""
        self._service.start()

    def adopt(self, snapshot: Snapshot) -> None:
        """Go by another snapshot. An address that is in both keeps its queue; one that cannot
        be had is said, and the others serve."""
        self._snapshot = snapshot
        self._service.adopt(_places(snapshot))

    async def stop(self) -> None:
        """Have it end; then its sockets are closed."""
        await self._service.stop()

    def close(self) -> None:
        """Close the sockets."""
        self._service.close()

    def release(self) -> None:
        """Close the sockets, and leave them to the next supervisor."""
        self._service.release()

    async def _launch(self) -> Companion:
        descriptors = [bound.socket.fileno() for bound in self._service.sockets.values()]
        answers = _Answers(self._metrics)
        return await start_companion(
            MODULE,
            lambda channel: wire.encode(self._spec(channel)),
            descriptors,
            hear=answers.hear,
            tell=self._tell,
        )

    def _spec(self, channel: int) -> GatewaySpec:
        try:
            token = token_hash(self._snapshot.metrics.token)
        except OSError as error:
            raise CloisterError(
                "the token of [metrics] cannot be read",
                why=f"{error.filename}: {os.strerror(error.errno or 0)}",
            ) from error
        mine = self._identify()
        return GatewaySpec(
            uid=None if mine is None else mine.uid,
            gid=None if mine is None else mine.gid,
            groups=(self._door.gid,),
            channel=channel,
            token_hash=token,
            listeners=tuple(
                GatewayListener(bound.socket.fileno(), place.app, _has_no_mode(bound))
                for place, bound in self._service.sockets.items()
            ),
            apps=scraped_apps(self._snapshot),
        )

    def _matters(self) -> tuple[object, ...]:
        """What a running gateway was told of the snapshot."""
        snapshot = self._snapshot
        return snapshot.metrics, _places(snapshot), scraped_apps(snapshot)

    def _tell(self, line: Line) -> None:
        self._sink.emit(LogEvent("metrics", line.text, fields={"event": "output"}))


class _Answers:
    """What one gateway is answered. Of what it says one word counts, and no bytes beside."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._newest = ("", 0.0)

    async def hear(self, line: bytes) -> bytes:
        """Cloister's own metrics: their length, and the text."""
        if line != b"metrics":
            raise ValueError("a word that is not known")
        text, since = self._newest
        if time.monotonic() - since > _FRESH:
            text = await self._metrics()
            self._newest = (text, time.monotonic())
        content = text.encode()
        return b"%d\n" % len(content) + content


def _has_no_mode(bound: BoundSocket) -> bool:
    """A Unix path has its owner, group and mode; an address has nothing of the kind."""
    return not isinstance(bound.address, UnixAddress) or bound.address.abstract


def _places(snapshot: Snapshot) -> list[_Place]:
    options = snapshot.metrics.socket
    found = [_Place(None, address, options) for address in snapshot.metrics.listen]
    for app in snapshot.apps:
        if app.metrics is not None:
            found += [_Place(app.name, address, options) for address in app.metrics.listen]
    return found
