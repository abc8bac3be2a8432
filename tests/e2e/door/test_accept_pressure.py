"""Out of descriptors: nobody spins, nobody else suffers, and it passes."""

import contextlib
import signal
import socket
import subprocess
import time

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.door import Door, DoorOptions
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory
from tests.support.processes import descriptor_count, processor_seconds, wake_ups
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()
SHORTAGE = "no more connections can be taken for now"


def test_a_pressed_door_rests_and_says_so_once(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """A hundred clients for some ten places: the rest wait in the queue, the door sleeps."""
    door = start_door(DoorOptions(descriptors=60, workers=1))
    idle = descriptor_count(door.pid)
    with hosts.listen("one.example") as target, door.connect() as early:
        early.send(HELLO)
        with target.accept() as served:
            served.receive(len(HELLO))
            clients = [door.connect() for _ in range(100)]
            wait_until(lambda: SHORTAGE in door.messages, what="the door complains")
            begun, used, woken = time.monotonic(), processor_seconds(door.pid), wake_ups(door.pid)
            clients[-1].expect_silence(1)
            elapsed = time.monotonic() - begun
            # A look at the listener every 100 ms, and nothing else.
            assert wake_ups(door.pid) - woken <= 12 * elapsed + 5
            assert processor_seconds(door.pid) - used < 0.05 * elapsed
            early.send(b"undisturbed")
            assert served.receive(11) == b"undisturbed"
            for client in clients:
                client.close()
            wait_until(lambda: len(door.records) == len(clients), what="all were taken and ended")
    wait_until(lambda: descriptor_count(door.pid) <= idle, what="the descriptors are back")
    assert door.messages.count(SHORTAGE) == 1
    assert "LimitNOFILE" in door.messages


def test_churn_at_the_limit_serves_everybody(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """Each that goes makes room for one: 500 short connections through some ten places."""
    door = start_door(DoorOptions(descriptors=60, workers=2))
    hello = Hello(b"none.example").records()
    clients = []
    for _ in range(500):
        clients.append(door.connect())
        clients[-1].send(hello)
    for client in clients:
        assert client.receive_rest()[:1] == b"\x15"
        client.close()
    wait_until(lambda: len(door.records) == len(clients), what="all have ended")
    assert {record["outcome"] for record in door.records} == {"refused-name"}


@pytest.mark.parametrize("fault", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_fault_ends_the_door(
    fault: signal.Signals, listening: socket.socket, hosts: HostsDirectory
) -> None:
    """Also where memory runs out, which aborts. It must make room for the next one: a filter
    that kept it from dying had it return to the faulting instruction for ever."""
    door = Door(listening, hosts.path)
    try:
        door.wait_until_serving()
        # Sent, it returns once: only the second finds the default action.
        door.signal(fault)
        with contextlib.suppress(subprocess.TimeoutExpired):
            door.wait(seconds=0.2)
        door.signal(fault)
        assert door.wait() == -fault
    finally:
        door.kill()


def test_a_flood_is_served_and_leaves_nothing_that_wakes_the_door(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """Where many come at once the door looks for them at a pace; where none come it sleeps."""
    door = start_door(DoorOptions(workers=1))
    with hosts.listen("one.example") as target, contextlib.ExitStack() as stack:
        for _ in range(10):
            clients = [stack.enter_context(socket.socket()) for _ in range(100)]
            for client in clients:
                client.setblocking(False)
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    client.connect(door.listening.getsockname())
            for number, client in enumerate(clients):
                client.settimeout(60)
                client.sendall(HELLO + number.to_bytes(2))
            came = set()
            for _ in clients:
                served = stack.enter_context(target.accept())
                assert served.receive(len(HELLO)) == HELLO
                came.add(int.from_bytes(served.receive(2)))
            assert came == set(range(len(clients)))
        woken = wake_ups(door.pid)
        with pytest.raises(AssertionError, match="did not come true"):
            wait_until(lambda: wake_ups(door.pid) - woken > 20, seconds=1, what="the door wakes")
        with door.connect() as late:
            late.send(HELLO)
            with target.accept() as served:
                assert served.receive(len(HELLO)) == HELLO
