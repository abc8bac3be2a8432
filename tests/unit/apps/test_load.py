"""What there is to do, seen from real sockets."""

import asyncio
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloister.apps.load import Census, ListenerLoad
from cloister.model.listener import SocketOptions, UnixAddress
from cloister.proc import descendants, sockets
from cloister.sockets.bind import BoundSocket, bind_listener


@dataclass
class Silent:
    """A process that does not tell."""

    inodes: tuple[int, ...]
    requests: int | None = None
    connections: int | None = None

    def sockets(self) -> Iterable[int]:
        return self.inodes


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[BoundSocket]:
    bound = bind_listener(UnixAddress(str(tmp_path / "socket")), SocketOptions())
    yield bound
    bound.close()


def connect(bound: BoundSocket) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(bound.address).removeprefix("unix:"))
    return client


def test_who_does_what(bound: BoundSocket) -> None:
    clients = [connect(bound) for _ in range(4)]
    taken = [bound.socket.accept()[0] for _ in range(3)]
    inodes = [os.fstat(one.fileno()).st_ino for one in taken]
    load = ListenerLoad(bound, Census())
    processes = [
        Silent((inodes[0], 4711)),
        Silent((inodes[1], inodes[2])),
        Silent((), requests=7, connections=2),
    ]
    found = load.measure(processes, count_open=True)
    assert (found.waiting, found.open, found.busy) == (1, 3, (1, 2, 7))
    for one in (*clients, *taken):
        one.close()


def test_connections_that_were_handed_over_are_told(bound: BoundSocket) -> None:
    load = ListenerLoad(bound, Census())
    assert load.measure([Silent((), 0, 5)], count_open=True).open == 5


def test_a_look_counts_for_everybody_for_a_while() -> None:
    looks = []
    now = 0.0

    def look() -> dict[tuple[int, int], set[int]]:
        nonlocal now
        looks.append(now)
        now += 0.5
        return {(1, 2): {len(looks)}}

    census = Census(look, lambda: now)
    assert [census.connections((1, 2)) for _ in range(3)] == [{1}] * 3
    assert census.connections((3, 4)) == set()
    # A look that took half a second is not taken again for twenty times as long.
    now += 9.9
    assert census.connections((1, 2)) == {1}
    now += 0.2
    assert census.connections((1, 2)) == {2}


def test_processes_that_tell_need_no_look(bound: BoundSocket) -> None:
    def look() -> dict[tuple[int, int], set[int]]:
        raise AssertionError("nobody has to look")

    load = ListenerLoad(bound, Census(look))
    assert load.measure([Silent((), 1, 1)], count_open=False).busy == (1,)


def test_a_connection_is_awaited_and_not_taken(bound: BoundSocket) -> None:
    async def play() -> None:
        load = ListenerLoad(bound, Census())
        waiting = asyncio.create_task(load.wait_connection())
        await asyncio.sleep(0)
        assert not waiting.done()
        client = connect(bound)
        await asyncio.wait_for(waiting, 10)
        # One that waits already is seen as well.
        await asyncio.wait_for(load.wait_connection(), 10)
        assert load.waiting() == 1
        client.close()

    asyncio.run(play())


def test_sockets_of_a_process_and_of_those_below_it() -> None:
    pid = os.getpid()
    with socket.socket() as mine:
        assert pid in descendants(pid)
        assert os.fstat(mine.fileno()).st_ino in sockets(pid)
    assert list(sockets(2**22 + 1)) == []
    assert descendants(2**22 + 1) == [2**22 + 1]
