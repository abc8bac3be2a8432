"""How versions of applications follow one another, with made-up processes and sockets."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from cloister.apps.assembly import Assembly, Version
from cloister.apps.endpoints import AppEndpoint, Endpoints
from cloister.apps.fleet import Fleet, UnknownAppError
from cloister.apps.logs import LogFormat, Sink
from cloister.apps.machine import State
from cloister.apps.resources import Resources
from cloister.apps.standing import Standing
from cloister.model.app import App, PythonProgram, SelfSignedTls
from cloister.model.snapshot import DEFAULT_IDS, DoorOptions, Paths, Snapshot


class FakeService:
    """Goes where the test says, and notes what it is asked."""

    def __init__(self, name: str, trace: list[str]) -> None:
        self._name = name
        self._trace = trace
        self.standing = Standing()
        self.process: object | None = None

    @property
    def state(self) -> State:
        return self.standing.state

    def serve(self) -> None:
        self.process = self
        self.standing.enter(State.READY)

    def end(self) -> None:
        self.process = None
        self.standing.enter(State.STOPPED)

    def start(self) -> None:
        self._trace.append(f"{self._name} start")
        self.standing.enter(State.STARTING)

    def stop(self) -> None:
        self._trace.append(f"{self._name} stop")
        if self.process is None:
            self.end()

    def restart(self) -> None:
        self._trace.append(f"{self._name} restart")

    def force(self) -> None:
        self._trace.append(f"{self._name} force")

    async def wait_state(self, *states: State) -> State:
        return await self.standing.wait(*states)


@dataclass
class FakeProgram:
    name: str
    trace: list[str]
    live: set[object] = field(default_factory=set)
    left: list[object] = field(default_factory=list)

    async def end(self) -> None:
        self.trace.append(f"{self.name} given up")


@dataclass
class FakeEndpoint:
    name: str
    trace: list[str]
    listening: object

    def close(self, successor: "FakeEndpoint | None") -> None:
        self.trace.append(f"{self.name} closed for {successor and successor.name}")


class World:
    """A fleet, and all that it asks others to do."""

    def __init__(self) -> None:
        self.trace: list[str] = []
        self.services: dict[str, FakeService] = {}
        self.programs: dict[str, FakeProgram] = {}
        self.apps: dict[str, FakeEndpoint] = {}
        self.snapshot = Snapshot("", Paths("/run", "/"), DEFAULT_IDS, DoorOptions(), (), ())
        self.sink = Sink(io.StringIO(), LogFormat.JSON)
        self.fleet = Fleet(
            cast("Assembly", self),
            cast("Endpoints", self),
            cast("Resources", self),
            self.sink,
            kept=None,
            retain=self._retain,
        )

    # The assembly.

    def version(self, app: App, endpoint: AppEndpoint, snapshot: Snapshot) -> Version:
        name = f"{app.name}{sum(one.startswith(app.name) for one in self.services)}"
        service = self.services[name] = FakeService(name, self.trace)
        program = self.programs[name] = FakeProgram(name, self.trace)
        return Version(app, endpoint, cast("Any", program), cast("Any", service))

    # The endpoints.

    def close_app(self, name: str, endpoint: AppEndpoint) -> None:
        self.trace.append(f"{name} is free")

    # The resources.

    def release(self, name: str) -> None:
        self.trace.append(f"{name} released")

    async def retain_disks(self, apps: Iterable[str]) -> None:
        self.trace.append(f"disks of {', '.join(apps)}")

    def _retain(self, apps: Iterable[App]) -> None:
        self.trace.append(f"ids of {', '.join(app.name for app in apps)}")

    # The test's.

    def endpoint(self, name: str, listening: str) -> None:
        number = int(name[-1])
        self.apps[name[:-1]] = FakeEndpoint(f"socket{number}", self.trace, listening)

    def add(self, name: str, **options: Any) -> FakeService:
        self.endpoint(f"{name}0", name)
        self.fleet.add(app(name, **options), self.snapshot)
        return self.services[f"{name}0"]

    def succeed(self, name: str, number: int, listening: str) -> FakeService:
        self.endpoint(f"{name}{number}", listening)
        self.fleet.succeed(app(name), self.snapshot)
        return self.services[f"{name}{number}"]

    async def said(self) -> list[str]:
        """What others were asked since the last time, as soon as nothing goes on by itself."""
        for _ in range(5):
            await asyncio.sleep(0)
        said, self.trace[:] = list(self.trace), []
        return said


def app(name: str, **options: Any) -> App:
    return App(name, PythonProgram("web", "app"), "/", **options)


def play(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    async def run() -> None:
        world = World()
        await test(world)
        world.fleet.call_off_handovers()
        world.sink.close()

    def synchronous() -> None:
        asyncio.run(run())

    return synchronous


@play
async def test_the_old_version_serves_until_the_next_one_does(world: World) -> None:
    old = world.add("blog")
    old.serve()
    world.programs["blog0"].live.add("a process")
    new = world.succeed("blog", 1, listening="blog")
    assert await world.said() == ["blog1 start"]
    # Who asks what has accepted from the socket has to know those of both.
    assert world.programs["blog1"].live is world.programs["blog0"].live
    new.serve()
    assert await world.said() == ["blog0 stop"]
    old.end()
    assert await world.said() == ["blog0 given up", "socket0 closed for socket1"]


@play
async def test_on_another_socket_its_processes_are_its_own(world: World) -> None:
    world.add("blog").serve()
    world.succeed("blog", 1, listening="another")
    assert world.programs["blog1"].live is not world.programs["blog0"].live


@play
async def test_one_that_serves_nobody_makes_way_at_once(world: World) -> None:
    old = world.add("blog")
    old.standing.enter(State.BACKOFF)
    world.succeed("blog", 1, listening="blog")
    assert await world.said() == ["blog0 stop", "blog1 start"]


@play
async def test_what_somebody_has_stopped_stays_so(world: World) -> None:
    world.add("blog")
    new = world.succeed("blog", 1, listening="blog")
    said = await world.said()
    assert said == ["blog0 stop", "blog0 given up", "socket0 closed for socket1"]
    assert new.state is State.STOPPED


@play
async def test_a_version_that_never_served_is_followed_like_the_one_before_it(
    world: World,
) -> None:
    oldest = world.add("blog")
    oldest.serve()
    world.succeed("blog", 1, listening="blog")
    newest = world.succeed("blog", 2, listening="blog")
    said = await world.said()
    assert said == ["blog1 start", "blog1 stop", "blog2 start"]
    assert oldest.state is State.READY
    newest.serve()
    assert await world.said() == [
        "blog1 stop",
        "blog0 stop",
        "blog1 given up",
        "socket1 closed for socket2",
    ]


@play
async def test_a_removed_one_is_forgotten_once_it_has_ended(world: World) -> None:
    world.add("wiki")
    blog = world.add("blog")
    blog.serve()
    world.fleet.remove("blog")
    assert await world.said() == ["blog is free", "blog0 stop"]
    with pytest.raises(UnknownAppError, match="'blog'") as raised:
        world.fleet.command("blog", "start")
    assert raised.value.hint == "the applications are: wiki"
    blog.end()
    assert await world.said() == [
        "blog0 given up",
        "socket0 closed for None",
        "blog released",
        "ids of wiki",
        "disks of wiki",
    ]


@play
async def test_one_of_the_same_name_keeps_what_a_removed_one_had(world: World) -> None:
    blog = world.add("blog")
    blog.serve()
    world.fleet.remove("blog")
    world.endpoint("blog1", "another")
    world.fleet.add(app("blog"), world.snapshot)
    await world.said()
    blog.end()
    assert await world.said() == ["blog0 given up", "socket0 closed for None"]


@play
async def test_a_stop_ends_every_version_and_waits_for_all(world: World) -> None:
    removed, old = world.add("wiki"), world.add("blog")
    removed.serve()
    old.serve()
    world.fleet.remove("wiki")
    new = world.succeed("blog", 1, listening="blog")
    await world.said()
    world.fleet.call_off_handovers()
    stopping = asyncio.ensure_future(world.fleet.stop())
    new.serve()  # too late: nobody follows anybody any more
    assert await world.said() == ["wiki0 stop", "blog1 stop", "blog0 stop"]
    for one in (removed, old, new):
        assert not stopping.done()
        one.end()
        await world.said()
    await stopping
    await world.fleet.close()
    assert await world.said() == ["blog1 given up"]


@play
async def test_new_certificates_restart_those_that_have_one_and_run(world: World) -> None:
    world.add("plain").serve()
    world.add("idle", tls=SelfSignedTls())
    world.add("blog", tls=SelfSignedTls()).serve()
    world.fleet.restart_for_certificates()
    assert await world.said() == ["blog0 restart"]
