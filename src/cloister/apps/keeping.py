"""What keeps an application alive, as the supervisor sees it, and what a pool is given for that."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from cloister.apps.load import Busy, Load
from cloister.apps.machine import State
from cloister.apps.service import Process, Service
from cloister.apps.status import Failure
from cloister.model.lifecycle import Processes, RestartPolicy


class Keeping(Protocol):
    """What the supervisor asks of whatever keeps an application alive."""

    @property
    def state(self) -> State:
        """Where it stands."""

    @property
    def since(self) -> float:
        """When it entered that state."""

    @property
    def process(self) -> Process | None:
        """One that runs now."""

    @property
    def services(self) -> tuple[Service, ...]:
        """One for each process."""

    @property
    def failure(self) -> Failure | None:
        """The newest one."""

    @property
    def restarts(self) -> int:
        """How often a process was made in the place of one before it."""

    def start(self) -> None:
        """Have it run."""

    def restart(self) -> None:
        """Have its processes follow one another."""

    def stop(self) -> None:
        """Have it end."""

    def force(self) -> None:
        """Have it end now."""

    async def wait_state(self, *states: State) -> State:
        """Returns the first of these states that it is in."""


class WorkerProcess(Process, Busy, Protocol):
    """What a pool is made of."""


class Gauge(Protocol):
    """Tells what there is to do."""

    def waiting(self) -> int:
        """Connections that nobody has taken."""

    def measure(self, processes: Iterable[Busy], *, count_open: bool) -> Load:
        """As it is now, with something for each of ``processes``."""

    async def wait_connection(self) -> None:
        """Returns when a connection waits to be taken."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool keeps alive, and how. Durations in seconds."""

    name: str
    launch: Callable[[int], Awaitable[WorkerProcess]]
    """Makes a process with a number that no other one of the pool has. Raises
    :class:`CloisterError`."""
    ready_timeout: float
    stop_timeout: float
    processes: Processes = field(default_factory=Processes)
    idle_stop: float | None = None
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    has_room: Callable[[], bool] = lambda: True
    """Whether the limits leave room for a process beside those that there are."""

    @property
    def elastic(self) -> bool:
        """Whether the number of processes depends on the load."""
        return self.idle_stop is not None or self.processes.spare is not None
