"""The gateway as a program that the supervisor keeps alive, and its listening sockets."""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cloister import wire
from cloister.apps.companion import Companion, start_companion
from cloister.apps.endpoints import adopt_left, socket_record
from cloister.apps.kept import Kept
from cloister.apps.lines import Line
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.service import Service, ServicePlan
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Address, SocketOptions, UnixAddress
from cloister.model.snapshot import Snapshot
from cloister.observe.gateway_spec import GatewayListener, GatewaySpec, scraped_apps, token_hash
from cloister.sockets.bind import BoundSocket, bind_listener

MODULE = "cloister.observe.gateway"
KIND = "metrics"
"""What its sockets are called where they are kept."""
IDENTITY = "metrics.gateway"
"""Its name among those who have ids; no application has a dot in its name."""
_FRESH = 0.5
"""Seconds for which an answer of the supervisor's serves again."""

Metrics = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Listening:
    bound: BoundSocket

    @property
    def tcp(self) -> bool:
        """A Unix path has its owner, group and mode; an address has nothing of the kind."""
        address = self.bound.address
        return not isinstance(address, UnixAddress) or address.abstract


_Place = tuple[str | None, Address, SocketOptions]
"""What is bound: for which application (``None``: all), where as configured, and how."""


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
        self._kept = kept
        self._snapshot = snapshot
        self._identify = identify
        self._door = door
        self._metrics = metrics
        self._sink = sink
        self._listening: dict[_Place, _Listening] = {}
        self._told: tuple[object, ...] = ()
        try:
            for place in _places(snapshot):
                self._bind(place)
        except BaseException:
            self.close()
            raise
        plan = ServicePlan("metrics", self._launch, ready_timeout=20.0, stop_timeout=2.0)
        self._service = Service(plan, sink, on_change=self._catch_up)

    def _bind(self, place: _Place) -> None:
        app, address, options = place
        left = None if self._kept is None else self._kept.take_socket(_name(place))
        bound = None if left is None else adopt_left(left, address, options)
        if bound is None:
            bound = bind_listener(address, options)
        if self._kept is not None:
            self._kept.store_socket(_name(place), bound.socket, socket_record(bound))
        self._listening[place] = _Listening(bound)
        message = f"metrics of {app or 'everything'} are asked for at {bound.address}"
        self._sink.emit(LogEvent("cloister", message))

    def start(self) -> None:
        """Have it run. Without an address there is nothing to run."""
        if self._listening:
            self._service.start()

    def adopt(self, snapshot: Snapshot) -> None:
        """Go by another snapshot. An address that is in both keeps its queue; one that cannot
        be had is said, and the others serve."""
        before, self._snapshot = self._snapshot, snapshot
        wanted = _places(snapshot)
        for place in [place for place in self._listening if place not in wanted]:
            self._close(place)
        for place in wanted:
            if place not in self._listening:
                try:
                    self._bind(place)
                except CloisterError as error:
                    self._sink.emit(LogEvent("metrics", str(error), Level.ERROR))
        if not self._listening:
            self._service.stop()
        elif self._service.state is State.STOPPED:
            self._service.start()
        elif _matters(before) != _matters(snapshot):
            self._service.restart()

    def _catch_up(self) -> None:
        """What was changed while a gateway was being made is not in what it was told, and the
        service takes no restart meanwhile: somebody waits for what is being made."""
        if self._service.state is State.STARTING and self._told != _matters(self._snapshot):
            self._service.restart()

    async def stop(self) -> None:
        """Have it end; then its sockets are closed."""
        self._service.stop()
        await self._service.wait_state(State.STOPPED)
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for place in list(self._listening):
            self._close(place)

    def _close(self, place: _Place) -> None:
        self._listening.pop(place).bound.close()
        if self._kept is not None:
            self._kept.forget(_name(place))

    def release(self) -> None:
        """Close the sockets, and leave them to the next supervisor."""
        while self._listening:
            self._listening.popitem()[1].bound.release()

    async def _launch(self) -> Companion:
        self._told = _matters(self._snapshot)
        descriptors = [one.bound.socket.fileno() for one in self._listening.values()]
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
                GatewayListener(one.bound.socket.fileno(), app, one.tcp)
                for (app, _, _), one in self._listening.items()
            ),
            apps=scraped_apps(self._snapshot),
        )

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


def _places(snapshot: Snapshot) -> list[_Place]:
    options = snapshot.metrics.socket
    found: list[_Place] = [(None, address, options) for address in snapshot.metrics.listen]
    for app in snapshot.apps:
        if app.metrics is not None:
            found += [(app.name, address, options) for address in app.metrics.listen]
    return found


def _name(place: _Place) -> str:
    """Under which its socket is kept."""
    app, address, _ = place
    return f"{KIND} {app or '*'} {address}"


def _matters(snapshot: Snapshot) -> tuple[object, ...]:
    """What a running gateway was told of a snapshot."""
    return snapshot.metrics, _places(snapshot), scraped_apps(snapshot)
