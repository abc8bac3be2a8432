"""The driver with the real `cloister-door`: snapshots, counters, replacement, death."""

import asyncio
import contextlib
import ctypes
import os
import platform
import shutil
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from cloister.cells.programs import find
from cloister.door.client import DoorLaunch, DoorProcess
from cloister.door.messages import (
    Balance,
    ConnectionRecord,
    Limits,
    Listener,
    Outcome,
    SendProxy,
    Snapshot,
    TargetRoute,
    UnixPath,
    decode,
)
from cloister.model.errors import DoorError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import SocketOptions, TcpAddress
from cloister.sockets.bind import BoundSocket, bind_listener

DOOR = HostIdentity(65534, 65534) if os.geteuid() == 0 else None
LIMITS = Limits(100, 0, 0, 5000, 5000, 0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the door's user can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="cloister-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def listener() -> Iterator[BoundSocket]:
    bound = bind_listener(TcpAddress("127.0.0.1", 0), SocketOptions())
    yield bound
    bound.close()


@contextlib.asynccontextmanager
async def backend(path: Path, name: str) -> AsyncIterator[UnixPath]:
    """Answers each line with its name and the line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(f"{name} ".encode() + line)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    path.chmod(0o777)  # noqa: ASYNC240 - nothing else runs yet
    try:
        yield UnixPath(str(path))
    finally:
        server.close()


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[DoorProcess]:
    process = await DoorProcess.start(DoorLaunch(find("cloister-door"), DOOR))
    drain = asyncio.create_task(process.messages.read())
    try:
        yield process
    finally:
        await process.close()
        await drain


class Client:
    """One connection through the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, listener: BoundSocket) -> "Client":
        return cls(*await asyncio.open_connection(*listener.socket.getsockname()[:2]))

    async def ask(self, text: str) -> str:
        self.writer.write(f"{text}\n".encode())
        return (await self.reader.readline()).decode().strip()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def snapshot(
    generation: int, target: UnixPath, *, name: str = "echo", descriptor: int = 0
) -> Snapshot:
    route = TargetRoute(target, SendProxy.NONE, Balance.ROUND_ROBIN)
    listening = Listener(name, "127.0.0.1:0", descriptor, route, (), LIMITS, None)
    return Snapshot(generation, 1, True, (listening,), ())


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 30)

    asyncio.run(bounded())


def test_the_door_is_confined() -> None:
    async def scenario() -> None:
        async with started() as door:
            missing = [one for one in door.protections if not one.active]
            assert missing == []
            names = {one.name for one in door.protections}
            assert names >= {"capabilities", "no-new-privileges", "seccomp"}

    run(scenario)


def test_its_threads_ask_for_short_turns(folder: Path, listener: BoundSocket) -> None:
    def turn(task: str) -> int:
        """Nanoseconds: `sched_runtime` of sched_getattr(2), from Linux 6.12 on."""
        attributes = ctypes.create_string_buffer(48)
        number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
        called = ctypes.CDLL(None, use_errno=True).syscall(number, int(task), attributes, 48, 0)
        assert called == 0, os.strerror(ctypes.get_errno())
        return int(struct.unpack_from("IIQiIQ", attributes)[5])

    async def scenario() -> None:
        async with backend(folder / "one", "one") as one, started() as door:
            await door.apply(snapshot(1, one), [listener.socket.fileno()])
            tasks = os.listdir(f"/proc/{door.pid}/task")  # noqa: PTH208 - names are wanted
            assert len(tasks) > 1
            if turn("0") == 0:
                pytest.skip("this kernel knows no turns of one's own (Linux 6.12)")
            assert {turn(task) for task in tasks} == {100_000}

    run(scenario)


def test_connections_counters_and_records(folder: Path, listener: BoundSocket) -> None:
    async def scenario() -> None:
        async with backend(folder / "one", "one") as one, started() as door:
            await door.apply(snapshot(1, one), [listener.socket.fileno()])
            client = await Client.connect(listener)
            assert await client.ask("hello") == "one hello"
            stats = await door.stats()
            assert (stats.generation, stats.accepted, stats.active) == (1, 1, 1)
            await client.close()
            line = await door.records.readline()
            record = decode(ConnectionRecord, line)
            assert record.listener == "echo"
            assert record.outcome is Outcome.COMPLETE
            assert (record.bytes_to_target, record.bytes_to_client) == (6, 10)
            assert (await door.stats()).outcomes == {"complete": 1}

    run(scenario)


def test_a_new_snapshot_counts_for_new_connections_only(
    folder: Path, listener: BoundSocket
) -> None:
    async def scenario() -> None:
        async with (
            backend(folder / "one", "one") as one,
            backend(folder / "two", "two") as two,
            started() as door,
        ):
            descriptor = listener.socket.fileno()
            await door.apply(snapshot(1, one), [descriptor])
            old = await Client.connect(listener)
            assert await old.ask("a") == "one a"
            await door.apply(snapshot(2, two), [descriptor])
            new = await Client.connect(listener)
            assert await new.ask("b") == "two b"
            assert await old.ask("c") == "one c"
            with pytest.raises(DoorError, match="refused"):
                await door.apply(snapshot(3, one, descriptor=9), [descriptor])
            assert (await door.stats()).generation == 2
            # The list of descriptors is empty again: the next one counts from its start.
            await door.apply(snapshot(4, one), [descriptor])
            newest = await Client.connect(listener)
            assert await newest.ask("d") == "one d"
            for client in (old, new, newest):
                await client.close()

    run(scenario)


def test_a_killed_door_is_replaced_without_a_refusal(folder: Path, listener: BoundSocket) -> None:
    async def scenario() -> None:
        async with backend(folder / "one", "one") as one:
            async with started() as door:
                await door.apply(snapshot(1, one), [listener.socket.fileno()])
                client = await Client.connect(listener)
                assert await client.ask("a") == "one a"
                await client.close()
                door.kill()
                assert await door.wait() == -9
            waiting = await Client.connect(listener)
            async with started() as door:
                await door.apply(snapshot(1, one), [listener.socket.fileno()])
                assert await waiting.ask("b") == "one b"
                await waiting.close()

    run(scenario)


def test_a_drained_door_lets_open_connections_end(folder: Path, listener: BoundSocket) -> None:
    async def scenario() -> None:
        async with backend(folder / "one", "one") as one, started() as door:
            await door.apply(snapshot(1, one), [listener.socket.fileno()])
            client = await Client.connect(listener)
            assert await client.ask("a") == "one a"
            assert await door.drain(20) == 1
            assert await client.ask("b") == "one b"
            await client.close()
            assert await door.wait() == 0

    run(scenario)


def test_many_listeners_at_once(folder: Path) -> None:
    async def scenario() -> None:
        listeners = [bind_listener(TcpAddress("127.0.0.1", 0), SocketOptions()) for _ in range(300)]
        try:
            async with backend(folder / "one", "one") as one, started() as door:
                route = TargetRoute(one, SendProxy.NONE, Balance.ROUND_ROBIN)
                named = tuple(
                    Listener(f"l{index}", str(bound.address), index, route, (), LIMITS, None)
                    for index, bound in enumerate(listeners)
                )
                await door.apply(
                    Snapshot(1, 1, False, named, ()),
                    [bound.socket.fileno() for bound in listeners],
                )
                client = await Client.connect(listeners[-1])
                assert await client.ask("last") == "one last"
                await client.close()
                assert len((await door.stats()).listeners) == 300
        finally:
            for bound in listeners:
                bound.close()

    run(scenario)


def test_the_door_dies_with_its_supervisor(folder: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from cloister.cells.programs import find\n"
        "from cloister.door.client import DoorLaunch, DoorProcess\n"
        "async def main():\n"
        "    door = await DoorProcess.start(DoorLaunch(find('cloister-door')))\n"
        "    print(door.pid, flush=True)\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )

    async def scenario() -> None:
        supervisor = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
        )
        assert supervisor.stdout is not None
        pid = int(await supervisor.stdout.readline())
        # Readable at the door's end, whoever its parent is by then (pidfd_open(2)).
        pidfd = os.pidfd_open(pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
        supervisor.kill()
        await supervisor.wait()
        await ended.wait()
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)

    run(scenario)
