"""Keeps a companion running for as long as it has sockets to listen at, and owns these.

The sockets outlive the companion, and the supervisor where that is killed: whoever connects
meanwhile waits in their queues.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from cloister.apps.endpoints import adopt_left, socket_record
from cloister.apps.kept import Kept
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.service import Process, Service, ServicePlan
from cloister.model.errors import CloisterError
from cloister.model.listener import Address, SocketOptions
from cloister.sockets.bind import BoundSocket, bind_listener


class Place(Hashable, Protocol):
    """Where it is asked. Two that are equal are one."""

    @property
    def kept_as(self) -> str:
        """Under which its socket is kept for the next supervisor."""

    @property
    def address(self) -> Address:
        """As configured."""

    @property
    def options(self) -> SocketOptions:
        """How it is bound."""


P = TypeVar("P", bound=Place)


class CompanionService(Generic[P]):
    """One companion. Lives on one event loop."""

    def __init__(
        self,
        plan: ServicePlan,
        sink: Sink,
        kept: Kept | None,
        *,
        matters: Callable[[], object],
        on_bind: Callable[[P, BoundSocket], None],
    ) -> None:
        """``matters`` is what the launch of ``plan`` tells it at that moment: once that would be
        something else, it is restarted. ``kept`` is where the sockets of a last supervisor are
        found, and kept for the next one; ``on_bind`` hears of each."""
        self.sockets: dict[P, BoundSocket] = {}
        """By place, in the order in which they were bound."""
        self._plan = plan
        self._sink = sink
        self._kept = kept
        self._matters = matters
        self._on_bind = on_bind
        self._told: object = None
        self._service = Service(replace(plan, launch=self._launch), sink, on_change=self._catch_up)

    @property
    def pid(self) -> int | None:
        """Of the companion, while there is one."""
        process = self._service.process
        return None if process is None else process.pid

    def bind(self, wanted: Iterable[P]) -> None:
        """Bind the first places: all, or none where that raises :class:`CloisterError`."""
        try:
            for place in wanted:
                self._bind(place)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Have it run. Without a place there is nothing to run."""
        if self.sockets:
            self._service.start()

    def adopt(self, wanted: Iterable[P]) -> None:
        """Go by another configuration. A place that was there before keeps its queue; one that
        cannot be had is said, and the others serve."""
        wanted = list(wanted)
        for place in [place for place in self.sockets if place not in wanted]:
            self._close(place)
        for place in wanted:
            if place not in self.sockets:
                try:
                    self._bind(place)
                except CloisterError as error:
                    self._sink.emit(LogEvent(self._plan.name, str(error), Level.ERROR))
        if not self.sockets:
            self._service.stop()
        elif self._service.state is State.STOPPED:
            self._service.start()
        elif self._told != self._matters():
            self._service.restart()

    async def stop(self) -> None:
        """Have it end; then its sockets are closed."""
        self._service.stop()
        await self._service.wait_state(State.STOPPED)
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for place in list(self.sockets):
            self._close(place)

    def release(self) -> None:
        """Close the sockets, and leave them to the next supervisor."""
        while self.sockets:
            self.sockets.popitem()[1].release()

    def _bind(self, place: P) -> None:
        left = None if self._kept is None else self._kept.take_socket(place.kept_as)
        bound = None if left is None else adopt_left(left, place.address, place.options)
        if bound is None:
            bound = bind_listener(place.address, place.options)
        if self._kept is not None:
            self._kept.store_socket(place.kept_as, bound.socket, socket_record(bound))
        self.sockets[place] = bound
        self._on_bind(place, bound)

    def _close(self, place: P) -> None:
        self.sockets.pop(place).close()
        if self._kept is not None:
            self._kept.forget(place.kept_as)

    async def _launch(self) -> Process:
        self._told = self._matters()
        return await self._plan.launch()

    def _catch_up(self) -> None:
        """What was changed while one was being made is not in what it was told, and the service
        takes no restart meanwhile: somebody waits for what is being made."""
        if self._service.state is State.STARTING and self._told != self._matters():
            self._service.restart()
