"""Keeps one program alive: interprets ``cloister.apps.machine``, and decides nothing."""

import asyncio
import random
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cloister.apps.backoff import BackoffPolicy, FailureRecord
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import Action, Event, State, next_step
from cloister.apps.standing import Standing
from cloister.apps.status import Failure
from cloister.model.errors import CloisterError
from cloister.model.lifecycle import RestartWhen


class Process(Protocol):
    """A running program."""

    @property
    def pid(self) -> int:
        """Of the process that is killed and reaped."""

    async def wait_ready(self) -> None:
        """Returns when it serves; may never return, and is cancelled then."""

    def terminate(self) -> None:
        """Ask it to end. Does not block."""

    def kill(self) -> None:
        """End it, at once and with all its descendants. Does not block."""

    async def wait(self) -> int:
        """Its exit status, negative for a signal, once its output was read to the end."""

    def last_output(self) -> tuple[str, ...]:
        """Its newest lines."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What a service keeps alive, and how. Durations in seconds."""

    name: str
    """The source of its log lines."""
    launch: Callable[[], Awaitable[Process]]
    """Makes a process; raises :class:`CloisterError`."""
    ready_timeout: float
    stop_timeout: float
    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)
    when: RestartWhen = RestartWhen.ALWAYS
    may_rest: Callable[[], bool] = lambda: False
    """Whether one that ended well by itself is not needed again at once."""
    quiet: bool = False
    """Whether only what goes wrong is said."""


class Service:
    """One program, kept alive from a start request to a stop request.

    Lives on one event loop, whose thread alone may call it.
    """

    def __init__(
        self,
        plan: ServicePlan,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        failures: FailureRecord | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``failures`` may be shared by services that fail for the same reasons;
        ``on_change`` is called after each change of state, and may call the service."""
        self._plan = plan
        self._sink = sink
        self._clock = clock
        self._chance = chance
        self._failures = failures or FailureRecord(plan.backoff)
        self._on_change = on_change
        self._process: Process | None = None
        self._ready_since: float | None = None
        self._spawns = 0
        self._exit_status = 0
        self._spawn_error: CloisterError | None = None
        self._pending: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._standing = Standing()
        self.failure: Failure | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._standing.state

    @property
    def since(self) -> float:
        """When it entered that state."""
        return self._standing.since

    @property
    def process(self) -> Process | None:
        """The process that runs now."""
        return self._process

    @property
    def restarts(self) -> int:
        """How often a process was made beyond the first."""
        return max(0, self._spawns - 1)

    @property
    def ready_since(self) -> float | None:
        """When its process became ready, by the service's clock."""
        return self._ready_since

    def start(self) -> None:
        """Have it run; a program that was given up is tried again."""
        self._happen(Event.START_REQUESTED)

    def restart(self) -> None:
        """Have it stopped and run again."""
        self._happen(Event.RESTART_REQUESTED)

    def stop(self) -> None:
        """Have it end, by consent first and by force when its time is over."""
        self._happen(Event.STOP_REQUESTED)

    def force(self) -> None:
        """Have it end now."""
        self._happen(Event.FORCE_REQUESTED)

    def demand(self) -> None:
        """Somebody needs it: have it run if it is dormant."""
        self._happen(Event.DEMANDED)

    def rest(self) -> None:
        """Nobody needs it: have it end, and run again when it is demanded."""
        self._happen(Event.REST_REQUESTED)

    def relieve(self) -> None:
        """Have its process, which has done its share, followed by another; or have one run in
        that one's place. No failure, and none before it is forgotten for that."""
        self._happen(Event.RELIEF_REQUESTED)

    async def wait_state(self, *states: State) -> State:
        """Returns the first of these states that it is in, however briefly it is."""
        return await self._standing.wait(*states)

    def _happen(self, event: Event) -> None:
        step = next_step(self.state, event)
        if step is None:
            return
        changed = step.state is not self.state
        if changed:
            self._call_off()
            self._standing.enter(step.state)
        for action in step.actions:
            _EFFECTS[action](self)
        if changed:
            self._on_change()

    def _call_off(self) -> None:
        """Whatever the state that is left still waits for."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _later(self, delay: float, event: Event) -> None:
        if self._pending is not None:
            self._pending.cancel()
        self._pending = asyncio.get_running_loop().call_later(delay, self._happen, event)

    def _task(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._say("internal fault", Level.ERROR, tuple(traceback.format_exception(error)))

    # Effects, one for each action.

    def _spawn(self) -> None:
        self._spawns += 1
        self._ready_since = None
        self._task(self._launch())

    async def _launch(self) -> None:
        try:
            process = await self._plan.launch()
        except CloisterError as error:
            self._spawn_error = error
            self._happen(Event.SPAWN_FAILED)
            return
        except Exception as error:  # noqa: BLE001 - out of descriptors, processes, memory
            why = f"{type(error).__name__}: {error}"
            self._spawn_error = CloisterError("it could not be started", why=why)
            self._happen(Event.SPAWN_FAILED)
            return
        self._process = process
        self._task(self._reap(process))
        self._happen(Event.SPAWNED)

    async def _reap(self, process: Process) -> None:
        self._exit_status = await process.wait()
        try:
            self._happen(Event.EXITED)
        finally:
            if self._process is process:
                self._process = None

    def _watch_readiness(self) -> None:
        self._later(self._plan.ready_timeout, Event.READY_TIMEOUT)
        self._watch = self._task(self._become_ready())

    async def _become_ready(self) -> None:
        if self._process is not None:
            await self._process.wait_ready()
            # This very task is what the state waits for: it must not call itself off.
            self._watch = None
            self._ready_since = self._clock()
            self._happen(Event.BECAME_READY)

    def _terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def _arm_stop_timer(self) -> None:
        self._later(self._plan.stop_timeout, Event.STOP_TIMEOUT)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _schedule_restart(self) -> None:
        if self._ended_well and self._plan.may_rest():
            self._later(0, Event.REST_REQUESTED)
            return
        when = self._plan.when
        if when is RestartWhen.NEVER or (when is RestartWhen.ON_FAILURE and self._ended_well):
            self._later(0, Event.LET_GO)
            return
        pause = self._failures.failed(
            now=self._clock(), ready_since=self._ready_since, chance=self._chance()
        )
        if pause is None:
            self._later(0, Event.GAVE_UP)
            return
        if pause:
            self._say(f"starts again in {pause:.2g} s", fields={"pause": round(pause, 3)})
        self._later(pause, Event.BACKOFF_ELAPSED)

    @property
    def _ended_well(self) -> bool:
        """Whether the process that has ended did what it should: it served, and said so."""
        return self._exit_status == 0 and self._ready_since is not None

    def _forget_failures(self) -> None:
        self._failures.forget()

    def _report_ready(self) -> None:
        pid = None if self._process is None else self._process.pid
        self._say("ready", fields={"pid": pid})

    def _report_spawn_failure(self) -> None:
        error = self._spawn_error or CloisterError("it could not be started")
        details = [
            f"{label}: {text}" for label, text in (("why", error.why), ("next", error.hint)) if text
        ]
        self._fail(str(error), tuple(details))

    def _report_exit(self) -> None:
        when = "" if self._ready_since is not None else " before it was ready"
        output = () if self._process is None else self._process.last_output()
        status = describe_exit(self._exit_status)
        if self._ended_well and (
            self._plan.when is not RestartWhen.ALWAYS or self._plan.may_rest()
        ):
            self._say(f"ended by itself ({status})", fields={"exit_status": 0})
            return
        self._fail(f"ended by itself{when} ({status})", output, {"exit_status": self._exit_status})

    def _report_late(self) -> None:
        output = () if self._process is None else self._process.last_output()
        self._fail(f"not ready after {self._plan.ready_timeout:g} s, so it was killed", output)

    def _report_stubborn(self) -> None:
        message = f"did not end within {self._plan.stop_timeout:g} s, so it is killed"
        self._say(message, Level.WARNING)

    def _report_given_up(self) -> None:
        failures = self._failures.counted
        # What it said last says more than that it was given up: it stays in the status.
        said = self.failure.last_output if self.failure is not None else ()
        self._fail(
            f"given up after {failures} failures within {self._failures.policy.window:g} s",
            (*said, "next: correct it, then restart it"),
            {"failures": failures},
        )

    def _fail(
        self,
        message: str,
        details: tuple[str, ...],
        fields: Mapping[str, int] | None = None,
    ) -> None:
        self.failure = Failure(message, time.time(), details)
        self._say(message, Level.ERROR, details, dict(fields or {}))

    def _say(
        self,
        message: str,
        level: Level = Level.INFO,
        details: tuple[str, ...] = (),
        fields: Mapping[str, int | float | None] | None = None,
    ) -> None:
        if self._plan.quiet and level is Level.INFO:
            return
        self._sink.emit(
            LogEvent(
                self._plan.name,
                message,
                level,
                details,
                {"event": "service", "state": self.state.value, **(fields or {})},
            )
        )


def describe_exit(status: int) -> str:
    """An exit status for people, ``-9`` as ``killed by SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


_EFFECTS: dict[Action, Callable[[Service], None]] = {
    Action.SPAWN: Service._spawn,  # noqa: SLF001 - the table of this very module
    Action.WATCH_READINESS: Service._watch_readiness,  # noqa: SLF001
    Action.TERMINATE: Service._terminate,  # noqa: SLF001
    Action.ARM_STOP_TIMER: Service._arm_stop_timer,  # noqa: SLF001
    Action.KILL: Service._kill,  # noqa: SLF001
    Action.SCHEDULE_RESTART: Service._schedule_restart,  # noqa: SLF001
    Action.FORGET_FAILURES: Service._forget_failures,  # noqa: SLF001
    Action.REPORT_READY: Service._report_ready,  # noqa: SLF001
    Action.REPORT_SPAWN_FAILURE: Service._report_spawn_failure,  # noqa: SLF001
    Action.REPORT_EXIT: Service._report_exit,  # noqa: SLF001
    Action.REPORT_LATE: Service._report_late,  # noqa: SLF001
    Action.REPORT_STUBBORN: Service._report_stubborn,  # noqa: SLF001
    Action.REPORT_GIVEN_UP: Service._report_given_up,  # noqa: SLF001
}
