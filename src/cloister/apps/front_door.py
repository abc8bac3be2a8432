"""The front door as a program of ``cloister.apps.service``.

To the service there is one door. Behind it stand generations: the one that accepts, and
those before it that end with their last connection.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloister.apps.door_generation import Generation
from cloister.apps.endpoints import ListenerEndpoint
from cloister.apps.kept import DoorRecord, Kept, LeftDoor
from cloister.apps.logs import LogEvent, Sink
from cloister.cells.programs import find
from cloister.door.channel import RefusedError
from cloister.door.client import DoorLaunch, DoorProcess
from cloister.door.messages import PROTOCOL, Protection, Ready, Statistics
from cloister.door.snapshot import (
    ListeningSocket,
    door_snapshot,
    open_hosts_directories,
    target_kinds,
)
from cloister.door.totals import NOTHING, ended, total
from cloister.model.errors import DoorError
from cloister.model.isolation import HostIdentity
from cloister.model.route import UnixPathTarget
from cloister.model.snapshot import Snapshot

DRAIN_TIMEOUT = 10.0
"""Seconds that open connections may go on after a stop was asked for."""

FOR_EVER = 365 * 24 * 3600.0
"""Seconds that the connections of a replaced door may go on: there is no hurry."""

RETIRED = 8
"""Replaced doors that may drain at once; before one more begins to, the oldest is cut."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """All that a door is started with and told."""

    snapshot: Snapshot
    listeners: tuple[ListenerEndpoint, ...]
    """The sockets of the snapshot's listeners."""
    targets: Mapping[str, str]
    """The path of each application's socket, by the application's name."""
    identity: HostIdentity | None
    """Whom it becomes; ``None`` leaves it the supervisor's own user."""

    @property
    def start(self) -> str:
        """What a door is started with and cannot change: its threads, its user, its reach."""
        kinds = sorted(target_kinds(self.snapshot))
        return f"{PROTOCOL} {self.snapshot.door.workers} {self.identity} {kinds}"


class FrontDoorProcess:
    """The running front door: its accepting generation, until that ends by itself."""

    def __init__(self, program: "FrontDoorProgram", generation: Generation) -> None:
        self._program = program
        self._current = generation
        self._replaced = asyncio.Event()
        self._stopping = False
        self._over = False
        self._draining: asyncio.Task[None] | None = None
        self.drained = asyncio.Event()
        """Set when nothing of it accepts, or can."""

    @property
    def pid(self) -> int:
        """The process id of the accepting door."""
        return self._current.door.pid

    @property
    def protections(self) -> tuple[Protection, ...]:
        """What it took on itself."""
        return self._current.door.protections

    async def stats(self) -> Statistics:
        """The counters of all generations since the supervisor's start; one that does not
        answer within a second counts with what it last said."""
        return await self._program.statistics(self._current)

    async def answers(self, patience: float) -> bool:
        """Whether every worker of the accepting door answers within ``patience`` seconds."""
        try:
            return await self._current.door.check(patience)
        except DoorError:
            return False

    async def replace(self) -> None:
        """Start the next door and, once that accepts, have this one end with its last
        connection. Raises :class:`DoorError`, or :class:`CloisterError`; then the old one
        goes on.
        """
        async with self._program.changing:
            await self.succeed(self._program.arrangement)

    async def succeed(self, arrangement: Arrangement) -> None:
        """As :meth:`replace`, by a door of this arrangement; the caller holds the lock."""
        self._demand_running()
        following = await self._program.make(arrangement)
        if self._stopping or self._over:
            await following.close()
            self._demand_running()
        old, self._current = self._current, following
        self._replaced.set()
        self._program.replacements += 1
        await self._program.retire(old)

    async def tell(self, arrangement: Arrangement) -> None:
        """Have the accepting door go over to this arrangement. Raises :class:`DoorError`; then
        the old one is in force: a door of which that is not known has been ended. The caller
        holds the lock."""
        self._demand_running()
        try:
            await self._program.tell(self._current.door, arrangement)
        except RefusedError:
            raise
        except DoorError:
            self._current.door.kill()
            raise

    def _demand_running(self) -> None:
        if self._stopping or self._over:
            raise DoorError(
                "the door is not replaced",
                why="it is stopping" if self._stopping else "it has just ended",
                hint=None if self._stopping else "the next one starts by itself",
            )

    async def wait_ready(self) -> None:
        """Returns at once: it has applied its snapshot already."""

    def terminate(self) -> None:
        """Accept no more, and end with the last open connection."""
        self._stopping = True
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        try:
            generations = (self._current, *self._program.retired)
            await asyncio.gather(*(one.drain(self._program.patience) for one in generations))
        finally:
            self.drained.set()

    def kill(self) -> None:
        """SIGKILL, to every generation."""
        for generation in (self._current, *self._program.retired):
            generation.door.kill()

    async def wait(self) -> int:
        """The exit status of the door that accepted last, after its last line was read; where
        everything stops, once the replaced ones have ended as well."""
        while not self._over:
            current = self._current
            status = await self._wait_current()
            async with self._program.changing:  # a replacement under way takes over
                self._over = current is self._current
        self._program.count(current)
        self.drained.set()
        if self._stopping:
            await self._program.wait_retired()
        return status

    async def _wait_current(self) -> int:
        """Returns when the accepting door has ended, with its status, or when another one
        accepts in its place."""
        self._replaced.clear()
        end = asyncio.ensure_future(self._current.wait())
        replaced = asyncio.ensure_future(self._replaced.wait())
        await asyncio.wait((end, replaced), return_when=asyncio.FIRST_COMPLETED)
        replaced.cancel()
        if end.done():
            return end.result()
        end.cancel()
        return 0

    def last_output(self) -> tuple[str, ...]:
        """What it last said to people."""
        return self._current.last.all()


class FrontDoorProgram:
    """Makes doors, one after the other, on the same listeners."""

    def __init__(
        self,
        arrangement: Arrangement,
        sink: Sink,
        kept: Kept | None = None,
        *,
        name: str = "door",
        patience: float = DRAIN_TIMEOUT,
    ) -> None:
        """``kept`` is where doors of a last supervisor are found, and kept for the next one.
        ``name`` tells them from those of other programs, in the log too. ``patience`` is how
        many seconds open connections may go on after a stop was asked for."""
        self._kept = kept
        self._name = name
        self.patience = patience
        self._names: dict[Generation, tuple[str, DoorRecord]] = {}
        self.arrangement = arrangement
        """Of the next door, and of the running one."""
        self.changing = asyncio.Lock()
        """Held while the arrangement or the accepting door is exchanged."""
        self._sink = sink
        self._ended = NOTHING
        self._retired: dict[Generation, asyncio.Task[None]] = {}
        self._old: list[Generation] = []
        """Doors of the last supervisor that end once another one accepts."""
        self.generation = 0
        """Of the snapshot in force; each door gets a new one."""
        self.replacements = 0
        """How often a door followed one that had not ended."""

    async def change(
        self,
        running: FrontDoorProcess | None,
        following: Arrangement,
        commit: Callable[[], None],
    ) -> None:
        """Go over to another arrangement, with the door that runs, if one does.

        ``commit`` is called once the door has taken it; what it raises is raised after the
        door has gone back. Raises :class:`DoorError`, and :class:`CloisterError` for what
        the arrangement names and is not there; then nothing has changed.
        """
        async with self.changing:
            former = self.arrangement
            if running is not None:
                await _exchange(running, former, following)
            try:
                commit()
            except BaseException:
                if running is not None:
                    await _exchange(running, following, former)
                raise
            self.arrangement = following

    @property
    def retired(self) -> tuple[Generation, ...]:
        """Replaced doors that have connections left, the oldest first."""
        return tuple(self._retired)

    async def launch(self) -> FrontDoorProcess:
        """A door that serves. Raises :class:`DoorError`, or :class:`CloisterError`."""
        async with self.changing:
            adopted = await self._adopt()
            if adopted is None:
                adopted = await self.make(self.arrangement)
            return FrontDoorProcess(self, adopted)

    async def _adopt(self) -> Generation | None:
        """The door of the last supervisor that accepts, where it can go on; others drain."""
        left = [] if self._kept is None else self._kept.take_doors(self._name)
        accepting = None
        for one in left:
            try:
                generation = await self._adopt_one(one)
            except DoorError as error:
                self._say(f"process {one.process.pid} cannot be taken over: {error}")
                continue
            if one is left[-1] and one.record.start == self.arrangement.start:
                try:
                    await self.tell(generation.door, self.arrangement)
                except DoorError:
                    generation.door.kill()
                else:
                    accepting = generation
                    continue
            self._old.append(generation)
        if accepting is not None:
            await self._retire_old()
        return accepting

    async def _retire_old(self) -> None:
        old, self._old = self._old, []
        for generation in old:
            await self.retire(generation)

    async def _adopt_one(self, left: LeftDoor) -> Generation:
        record = left.record
        ready = Ready(PROTOCOL, record.version, record.protections)
        door = await DoorProcess.adopt(left.process, left.control, left.output, ready)
        self._say(f"process {door.pid} goes on: the last supervisor has left it")
        return self._generation(door, (left.name, record))

    def _generation(self, door: DoorProcess, entry: tuple[str, DoorRecord] | None) -> Generation:
        generation = Generation(
            door, self._sink, lambda: self._forget(generation), source=self._name
        )
        if entry is not None:
            self._names[generation] = entry
        return generation

    def _forget(self, generation: Generation) -> None:
        name, _ = self._names.pop(generation, (None, None))
        if self._kept is not None and name is not None:
            self._kept.forget(name)

    def _keep(self, door: DoorProcess, arrangement: Arrangement) -> tuple[str, DoorRecord] | None:
        """Has a new door kept. Before that it drains when this supervisor ends."""
        if self._kept is None or door.returncode is not None:
            return None
        record = DoorRecord(0, True, door.version, arrangement.start, door.protections)
        pidfd = os.pidfd_open(door.pid)  # nobody has reaped it: the number is still its own
        try:
            return self._kept.store_door(self._name, record, [pidfd, *door.descriptors()])
        finally:
            os.close(pidfd)

    async def make(self, arrangement: Arrangement) -> Generation:
        """One that accepts. Raises as :meth:`launch`."""
        kinds = target_kinds(arrangement.snapshot)
        launch = DoorLaunch(find("cloister-door"), arrangement.identity, kinds)
        door = await DoorProcess.start(launch)
        generation = self._generation(door, self._keep(door, arrangement))
        try:
            await self.tell(door, arrangement)
        except BaseException:
            await generation.close()
            raise
        await self._retire_old()
        return generation

    async def retire(self, generation: Generation) -> None:
        """Have it end with its last connection."""
        retired = self.retired
        for oldest in retired[: max(0, len(retired) + 1 - RETIRED)]:
            await oldest.drain(0)
        name, record = self._names.get(generation, (None, None))
        if self._kept is not None and name is not None and record is not None:
            self._kept.door_retires(name, record)
        await generation.drain(FOR_EVER)
        self._say(f"process {generation.door.pid} drains: another one accepts")
        self._retired[generation] = asyncio.ensure_future(self._see_off(generation))

    async def _see_off(self, generation: Generation) -> None:
        try:
            await generation.wait()
        finally:
            del self._retired[generation]
            self.count(generation)
        self._say(f"process {generation.door.pid} has ended with its last connection")

    def count(self, generation: Generation) -> None:
        """Keeps the counters of one that has ended."""
        self._ended = total(self._ended, ended(generation.statistics))

    async def statistics(self, current: Generation | None = None) -> Statistics:
        """Of all that there are and were; ``current`` is the one that accepts."""
        there = self.retired if current is None else (*self.retired, current)
        asked = await asyncio.gather(*(one.ask() for one in there))
        sums = self._ended
        for one in asked:
            sums = total(sums, one)
        return sums

    async def wait_retired(self) -> None:
        """Returns when every replaced door has ended."""
        if self._retired:
            await asyncio.wait(self._retired.values())

    async def tell(self, door: DoorProcess, arrangement: Arrangement) -> None:
        """Have a door take the arrangement. Raises as :meth:`launch`."""
        self.generation += 1
        listeners = [
            ListeningSocket(
                endpoint.listener, str(endpoint.bound.address), endpoint.bound.socket.fileno()
            )
            for endpoint in arrangement.listeners
        ]
        targets = {name: UnixPathTarget(path) for name, path in arrangement.targets.items()}
        snapshot = arrangement.snapshot
        with open_hosts_directories(snapshot) as directories:
            message, descriptors = door_snapshot(
                snapshot, self.generation, listeners, targets, directories=directories
            )
            await door.apply(message, descriptors)

    def _say(self, message: str) -> None:
        self._sink.emit(LogEvent(self._name, message, fields={"event": "generation"}))


async def _exchange(running: FrontDoorProcess, former: Arrangement, following: Arrangement) -> None:
    if former.start != following.start:
        await running.succeed(following)
    else:
        await running.tell(following)
