"""Many clients at once, and what they cost the door."""

import contextlib
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from tests.support.door import Door
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer, UnixListener
from tests.support.processes import lasting_descriptor_count, resident_bytes
from tests.support.waiting import wait_until

MEBIBYTE = 1 << 20


def need_descriptors(number: int) -> None:
    """Has this process open so many; skips where the hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number:
        pytest.skip(f"needs {number} descriptors; the hard limit is {hard}")
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a door takes now."""

    memory: int
    descriptors: int

    @classmethod
    def of(cls, door: Door) -> "Footprint":
        return cls(resident_bytes(door.pid), lasting_descriptor_count(door.pid))

    def expect_again(self, door: Door, *, slack: int = 2 * MEBIBYTE) -> None:
        """The door is back to it, but for ``slack`` bytes of memory kept for the next crowd."""
        wait_until(
            lambda: lasting_descriptor_count(door.pid) <= self.descriptors,
            what="the descriptors are back",
        )
        wait_until(
            lambda: resident_bytes(door.pid) - self.memory < slack, what="the memory is back"
        )


class GoodClient:
    """A relayed connection of somebody who does nothing wrong."""

    def __init__(self, client: Peer, target: Peer) -> None:
        self._client = client
        self._target = target

    def rounds(self, number: int) -> Sequence[float]:
        """Seconds of each of so many small exchanges, in order of length."""
        durations = []
        for _ in range(number):
            begun = time.monotonic()
            self._client.send(b"?" * 128)
            self._target.receive(128)
            self._target.send(b"!" * 128)
            self._client.receive(128)
            durations.append(time.monotonic() - begun)
        return sorted(durations)


@contextlib.contextmanager
def good_client(door: Door, hosts: HostsDirectory) -> Iterator[GoodClient]:
    """One through the door, to a host of its own."""
    hello = Hello(b"good.example").records()
    with hosts.listen("good.example") as listener, door.connect() as client:
        client.send(hello)
        with listener.accept() as target:
            target.receive(len(hello))
            yield GoodClient(client, target)


@contextlib.contextmanager
def crowd(door: Door, number: int) -> Iterator[Sequence[Peer]]:
    """So many connections, closed at the end."""
    need_descriptors(2 * number + 500)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(door.connect()) for _ in range(number)]


def accept_all(listener: UnixListener, number: int) -> Sequence[Peer]:
    return [listener.accept() for _ in range(number)]
