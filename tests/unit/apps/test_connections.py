"""A process for each connection: real sockets, made-up processes."""

import asyncio
import io
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cloister.apps.connections import ConnectionPlan, ConnectionPool
from cloister.apps.logs import LogFormat, Sink
from cloister.apps.machine import State
from cloister.apps.service import Process
from cloister.model.errors import CloisterError
from cloister.model.lifecycle import RestartPolicy


class FakeProcess:
    """Has a connection, and ends when the test says so."""

    def __init__(self, pid: int, number: int, connection: socket.socket) -> None:
        self.pid = pid
        self.number = number
        self.connection = connection
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait_ready(self) -> None:
        pass

    def terminate(self) -> None:
        self.end(0)

    def kill(self) -> None:
        self.end(-9)

    def end(self, status: int) -> None:
        self.connection.close()
        if not self.ended.done():
            self.ended.set_result(status)

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    def last_output(self) -> tuple[str, ...]:
        return ("last words",)


class World:
    """A pool at a real socket."""

    def __init__(self, folder: Path, most: int) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.path = str(folder / "socket")
        self.listening.bind(self.path)
        self.listening.listen(16)
        self.made: list[FakeProcess] = []
        self.broken = False
        self.log = io.StringIO()
        self.sink = Sink(self.log, LogFormat.JSON)
        plan = ConnectionPlan(
            "mail", self.launch, self.listening, most, 60.0, RestartPolicy(failures=3)
        )
        self.pool = ConnectionPool(plan, self.sink)

    async def launch(self, connection: socket.socket, number: int) -> Process:
        if self.broken:
            raise CloisterError("no cell", why="no memory")
        live = {one.number for one in self.made if not one.ended.done()}
        assert number not in live, "two processes of one number"
        self.made.append(FakeProcess(1000 + len(self.made), number, connection.dup()))
        return self.made[-1]

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.path)
        return client

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.001)


def play(folder: Path, test: Callable[[World], Awaitable[None]], *, most: int = 2) -> World:
    async def run() -> World:
        world = World(folder, most)
        await test(world)
        world.pool.force()
        await asyncio.wait_for(world.pool.wait_state(State.STOPPED), 10)
        for _ in range(5):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        world.listening.close()
        world.sink.close()
        assert "internal fault" not in world.log.getvalue()
        return world

    return asyncio.run(run())


def test_each_connection_has_its_process_and_the_others_wait(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        early = world.connect()  # before anybody takes connections
        world.pool.start()
        clients = [early, world.connect(), world.connect()]
        await world.until(lambda: len(world.made) == 2)
        await asyncio.sleep(0.02)
        assert len(world.made) == 2
        assert len(world.pool.services) == 2
        for number, process in enumerate(world.made):
            process.connection.send(b"%d" % number)
            assert clients[number].recv(10) == b"%d" % number
        world.made[0].end(0)
        assert clients[0].recv(10) == b""
        await world.until(lambda: len(world.made) == 3)
        assert world.pool.failure is None
        for client in clients:
            client.close()

    world = play(tmp_path, test)
    # Connections come and go without a word.
    assert world.log.getvalue() == ""


def test_one_that_fails_is_told_and_the_next_one_is_served(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.pool.start()
        for count in range(1, 6):
            client = world.connect()
            await world.until(lambda count=count: len(world.made) == count)
            world.made[-1].end(3)
            await world.until(lambda: not world.pool.services)
            client.close()
        assert world.pool.state is State.READY
        assert world.pool.failure is not None
        assert world.pool.failure.message == "ended by itself (exit status 3)"
        assert world.pool.failure.last_output == ("last words",)

    play(tmp_path, test)


def test_what_cannot_be_started_is_given_up_until_somebody_asks(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.broken = True
        world.pool.start()
        clients = [world.connect() for _ in range(4)]
        await asyncio.wait_for(world.pool.wait_state(State.FAILED), 10)
        # Three were closed, since nobody could serve them; the fourth one waits.
        assert [client.recv(10) for client in clients[:3]] == [b""] * 3
        failure = world.pool.failure
        assert failure is not None
        assert failure.message == "given up after 3 failures: no cell"
        assert failure.last_output[0] == "why: no memory"
        world.broken = False
        world.pool.start()
        await world.until(lambda: len(world.made) == 1)
        world.made[0].connection.send(b"x")
        assert clients[3].recv(10) == b"x"
        for client in clients:
            client.close()

    play(tmp_path, test, most=1)


@pytest.mark.parametrize("verb", ["stop", "force"])
def test_an_end_takes_no_more_connections(tmp_path: Path, verb: str) -> None:
    async def test(world: World) -> None:
        world.pool.start()
        client = world.connect()
        await world.until(lambda: len(world.made) == 1)
        getattr(world.pool, verb)()
        await asyncio.wait_for(world.pool.wait_state(State.STOPPED), 10)
        assert client.recv(10) == b""
        later = world.connect()
        await asyncio.sleep(0.02)
        assert len(world.made) == 1
        world.pool.start()
        await world.until(lambda: len(world.made) == 2)
        for one in (client, later):
            one.close()

    play(tmp_path, test)
