"""The front door, kept alive: what it is asked, whichever process it is at the moment."""

from collections.abc import Callable

from cloister.apps.backoff import BackoffPolicy
from cloister.apps.front_door import (
    DRAIN_TIMEOUT,
    Arrangement,
    FrontDoorProcess,
    FrontDoorProgram,
)
from cloister.apps.kept import Kept
from cloister.apps.logs import Sink
from cloister.apps.machine import SETTLED, State
from cloister.apps.reporting import door_status
from cloister.apps.service import Service, ServicePlan
from cloister.apps.status import DoorStatus
from cloister.door.messages import Statistics
from cloister.model.errors import DoorError

_BACKOFF = BackoffPolicy(longest_pause=5.0, give_up_after=None)
"""It is never given up: without it nothing is served."""


class DoorService:
    """Lives on one event loop."""

    def __init__(
        self, arrangement: Arrangement, host_uid: int, sink: Sink, kept: Kept | None = None
    ) -> None:
        """``host_uid`` is whom it runs as, as far as people are told. ``kept`` is where a door
        is found by, and kept for, a next supervisor."""
        self._host_uid = host_uid
        self._program = FrontDoorProgram(arrangement, sink, kept)
        plan = ServicePlan(
            "door",
            self._program.launch,
            ready_timeout=10.0,
            stop_timeout=DRAIN_TIMEOUT + 2.0,
            backoff=_BACKOFF,
        )
        self._service = Service(plan, sink)

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._service.state

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the process that accepts; none while there is none."""
        process = self._process
        return () if process is None else (process.pid,)

    @property
    def _process(self) -> FrontDoorProcess | None:
        process = self._service.process
        return process if isinstance(process, FrontDoorProcess) else None

    def start(self) -> None:
        """Have it run."""
        self._service.start()

    async def wait_serving(self) -> None:
        """Returns when it serves. Raises :class:`DoorError` where its first start fails."""
        if await self._service.wait_state(*SETTLED) is not State.READY:
            failure = self._service.failure
            raise DoorError(
                "the door does not start",
                why="; ".join((failure.message, *failure.last_output)) if failure else None,
                hint="see the lines of `door` above",
            )

    async def stop(self) -> None:
        """Have it end with its last connection. Returns when it takes no more."""
        process = self._process
        self._service.stop()
        if process is not None:
            await process.drained.wait()

    async def wait_stopped(self) -> None:
        """Returns when it has ended, as it was asked to."""
        await self._service.wait_state(State.STOPPED)

    def force(self) -> None:
        """End it now."""
        self._service.force()

    async def change(self, following: Arrangement, commit: Callable[[], None]) -> None:
        """Have it go by another arrangement. ``commit`` and what is raised: as
        :meth:`FrontDoorProgram.change`."""
        await self._program.change(self._process, following, commit)

    async def replace(self) -> None:
        """Have another door accept, and the one that runs now end with its last connection.
        Returns once the new one accepts. Raises :class:`DoorError`; then the old one goes on."""
        process = self._process
        if process is None:
            raise DoorError(
                "there is no door to replace",
                why=f"its state is {self.state.value}",
                hint="the next one starts by itself",
            )
        await process.replace()

    async def answers(self, patience: float) -> bool:
        """Whether every worker of it answers within ``patience`` seconds; true while none runs,
        since the next one is on its way."""
        process = self._process
        return process is None or await process.answers(patience)

    def restart(self) -> None:
        """End one that does not answer; the next one starts by itself."""
        if self._service.process is not None:
            self._service.process.kill()

    async def statistics(self) -> Statistics | None:
        """What it counts; ``None`` while none runs. It has a second to tell."""
        process = self._process
        return None if process is None else await process.stats()

    def status(self, statistics: Statistics | None) -> DoorStatus:
        """How it is, with what it has counted."""
        return door_status(self._service, self._process, self._program, self._host_uid, statistics)
