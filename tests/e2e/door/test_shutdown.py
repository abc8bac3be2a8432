"""Stopping, replacing and killing a door: nobody who waits is refused, nobody is cut early."""

import contextlib
import os
import signal
import socket
import subprocess
import time

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.door import Door, DoorOptions, listen_tcp, program
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer, UnixListener
from tests.support.processes import open_files
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()
STOPS = [signal.SIGHUP, signal.SIGTERM]


def stop(door: Door, number: signal.Signals) -> None:
    """Returns when the door has let go of its listening socket."""
    inode = os.fstat(door.listening.fileno()).st_ino
    door.signal(number)

    held = f"socket:[{inode}]"
    wait_until(lambda: held not in open_files(door.pid), seconds=2, what="the listener is closed")


def relay(door: Door, target: UnixListener) -> tuple[Peer, Peer]:
    """Both ends of a new connection."""
    client = door.connect()
    client.send(HELLO)
    served = target.accept()
    assert served.receive(len(HELLO)) == HELLO
    return client, served


@pytest.mark.parametrize("number", STOPS)
def test_without_connections_it_ends_at_once(number: signal.Signals, door: Door) -> None:
    begun = time.monotonic()
    door.signal(number)
    assert door.wait(seconds=5) == 0
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("number", STOPS)
def test_open_connections_finish(number: signal.Signals, door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        client, served = relay(door, target)
        with client, served:
            stop(door, number)
            client.send(b"still")
            assert served.receive(5) == b"still"
            served.send(b"here")
            served.finish()
            assert client.receive_rest() == b"here"
            client.finish()
            served.expect_end()
        assert door.wait(seconds=5) == 0
    assert [record["outcome"] for record in door.records] == ["complete"]


@pytest.mark.parametrize("number", STOPS)
def test_a_new_door_takes_over_while_the_old_one_drains(
    number: signal.Signals, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    old = start_door()
    with hosts.listen("one.example") as target:
        client, served = relay(old, target)
        with client, served:
            stop(old, number)
            with old.connect() as waiting:
                waiting.send(HELLO)
                waiting.expect_silence()
                new = start_door(serving=False)
                with target.accept() as other:
                    assert other.receive(len(HELLO)) == HELLO
                    other.send(b"new")
                    assert waiting.receive(3) == b"new"
            client.send(b"old")
            assert served.receive(3) == b"old"
        assert old.wait(seconds=5) == 0
    assert len(old.records) == 1
    new.wait_for_record()


def test_the_port_is_free_at_once(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """Whoever binds anew needs no socket of the old door's: here the test gives its own up."""
    with hosts.listen("one.example") as target, listen_tcp() as first:
        door = start_door(on=first)
        client, served = relay(door, target)
        with client, served:
            stop(door, signal.SIGHUP)
            address = first.getsockname()
            first.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
            with socket.create_server(address):
                client.send(b"old")
                assert served.receive(3) == b"old"
        assert door.wait(seconds=5) == 0


def test_a_relay_that_would_exit_when_idle_frees_its_port_too() -> None:
    with listen_tcp() as target, listen_tcp() as first:
        address = first.getsockname()
        goal = f"127.0.0.1:{target.getsockname()[1]}"
        relaying = subprocess.Popen(
            [program(), "relay", "--exit-idle-time", "60", goal],
            stdin=first.fileno(),
            stderr=subprocess.DEVNULL,
        )
        try:
            with socket.create_connection(address) as client, target.accept()[0] as served:
                first.close()
                relaying.send_signal(signal.SIGHUP)
                wait_until(lambda: is_free(address), what="the port is free")
                client.sendall(b"old")
                assert served.recv(3) == b"old"
            assert relaying.wait(10) == 0
        finally:
            relaying.kill()
            relaying.wait()


def is_free(address: tuple[str, int]) -> bool:
    try:
        socket.create_server(address).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", STOPS)
def test_what_is_still_open_is_cut_at_the_deadline(
    number: signal.Signals, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    door = start_door(DoorOptions(drain=0.5))
    with hosts.listen("one.example") as target:
        client, served = relay(door, target)
        with client, served:
            begun = time.monotonic()
            door.signal(number)
            assert door.wait(seconds=5) == 0
            assert 0.45 <= time.monotonic() - begun <= 1.5
            assert client.receive_rest_unless_reset() == b""
            assert served.receive_rest_unless_reset() == b""
    assert [record["outcome"] for record in door.records] == ["drained"]


def test_the_deadline_is_ten_seconds(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        client, served = relay(door, target)
        with client, served:
            begun = time.monotonic()
            door.signal(signal.SIGHUP)
            assert door.wait(seconds=15) == 0
            assert 9.5 <= time.monotonic() - begun <= 11.5


def test_an_unfinished_hello_may_be_finished(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target, door.connect() as client:
        client.send(HELLO[:100])
        wait_until(lambda: count_sockets(door) >= 2, what="the connection is accepted")
        stop(door, signal.SIGHUP)
        client.send(HELLO[100:])
        with target.accept() as served:
            assert served.receive(len(HELLO)) == HELLO
        client.expect_end()
        client.close()
        assert door.wait(seconds=5) == 0


@pytest.mark.parametrize(
    ("signals", "cut"),
    [
        ([signal.SIGTERM, signal.SIGTERM], True),
        ([signal.SIGINT, signal.SIGINT], True),
        ([signal.SIGHUP, signal.SIGINT], True),
        ([signal.SIGHUP, signal.SIGHUP], False),
        # What a door gets that its keeper has asked before systemd signals the whole unit.
        ([signal.SIGHUP, signal.SIGTERM], False),
    ],
)
def test_who_insists_is_obeyed_at_once(
    signals: list[signal.Signals], cut: bool, door: Door, hosts: HostsDirectory
) -> None:
    with hosts.listen("one.example") as target:
        client, served = relay(door, target)
        with client, served:
            stop(door, signals[0])
            for number in signals[1:]:
                door.signal(number)
            if cut:
                assert client.receive_rest_unless_reset() == b""
            else:
                client.expect_silence(0.3)
                client.send(b"still")
                assert served.receive(5) == b"still"
                client.finish()
                served.finish()
        assert door.wait(seconds=5) == 0
    assert door.records[0]["outcome"] == ("drained" if cut else "complete")


@pytest.mark.parametrize("number", STOPS)
def test_who_waits_in_the_queue_is_served_before_the_door_ends(
    number: signal.Signals, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """The door holds the socket alone: with it the queue would be gone."""
    with hosts.listen("one.example", backlog=512) as target, listen_tcp() as alone:
        door = start_door(on=alone)
        door.signal(signal.SIGSTOP)
        waiting = [door.connect() for _ in range(300)]
        for order, peer in enumerate(waiting):
            peer.send(HELLO + order.to_bytes(2))
        address = alone.getsockname()
        alone.close()
        door.signal(number)
        door.signal(signal.SIGCONT)
        for _ in waiting:
            with target.accept() as served:
                order = int.from_bytes(served.receive(len(HELLO) + 2)[-2:])
                served.send(b"served")
                assert waiting[order].receive(6) == b"served"
                waiting[order].close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        assert door.wait(seconds=10) == 0


def count_sockets(door: Door) -> int:
    return sum(name.startswith("socket:") for name in open_files(door.pid))


def test_after_a_kill_the_queue_is_served_by_the_next_door(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """The listening socket outlives the door, and so does its queue."""
    with hosts.listen("one.example") as target, contextlib.ExitStack() as stack:
        for _ in range(3):
            door = start_door(serving=False)
            client, served = relay(door, target)
            stack.enter_context(client)
            stack.enter_context(served)
            door.signal(signal.SIGKILL)
            assert door.wait() == -signal.SIGKILL
            waiting = [stack.enter_context(door.connect()) for _ in range(20)]
            for number, peer in enumerate(waiting):
                peer.send(HELLO + bytes([number]))
            start_door(serving=False)
            for _ in waiting:
                other = stack.enter_context(target.accept())
                number = other.receive(len(HELLO) + 1)[-1]
                other.send(b"served")
                assert waiting[number].receive(6) == b"served"
                waiting[number].close()


def test_no_connection_is_lost_when_doors_follow_each_other(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """One door after the other is replaced under a stream of new connections."""
    served = 0
    with hosts.listen("one.example", backlog=256) as target:
        door = start_door()
        for _ in range(5):
            clients = []
            for step in range(40):
                client = door.connect()
                client.send(HELLO)
                clients.append(client)
                if step == 20:
                    following = start_door(serving=False)
                    door.signal(signal.SIGHUP)
            for _ in clients:
                with target.accept() as other:
                    assert other.receive(len(HELLO)) == HELLO
                    served += 1
            for client in clients:
                client.expect_end()
                client.close()
            assert door.wait(seconds=5) == 0
            door = following
    assert served == 200
