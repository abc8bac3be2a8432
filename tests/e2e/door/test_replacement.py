"""A door is replaced by another one on the same sockets: no connection is lost."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.door import Door, DoorOptions, connect, program
from tests.support.hello import Hello
from tests.support.keyed import Outcome
from tests.support.load import KeyedTarget, Load
from tests.support.peers import HostsDirectory
from tests.support.processes import (
    children,
    descriptor_count,
    is_running,
    open_files,
    processor_seconds,
    status_fields,
    thread_status_fields,
)
from tests.support.service_manager import ServiceManager
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()
PROGRAM = Path(program())
FEW = 50
MANY = 1000
"""Replacements, in every run and in the slow one."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with contextlib.closing(ServiceManager(str(tmp_path / "notify"))) as manager:
        yield manager


def is_ready(fields: dict[str, str]) -> bool:
    return fields.get("READY") == "1"


@pytest.fixture
def load(hosts: HostsDirectory, listening: socket.socket) -> Iterator[Load]:
    """Clients of ``one.example`` and their target."""
    with hosts.listen("one.example", backlog=4096) as target:
        serving = KeyedTarget(target.socket)
        load = Load(lambda: connect(listening), preface=HELLO)
        yield load
        load.stop()
        serving.close()


COUNTS = [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]


@pytest.mark.parametrize("count", COUNTS)
def test_a_second_door_takes_over_before_the_first_is_signalled(
    count: int, start_door: StartDoor, load: Load, manager: ServiceManager
) -> None:
    door = start_door(serving=False, environment=manager.environment)
    manager.wait_for(is_ready)
    for _ in range(count):
        following = start_door(serving=False, environment=manager.environment)
        assert manager.wait_for(is_ready)["MAINPID"] == str(following.pid)
        door.signal(signal.SIGHUP)
        load.wait_progress(1)
        assert door.wait(seconds=30) == 0
        door = following
    outcomes = load.stop()
    assert outcomes.total() >= count
    assert outcomes == {Outcome.COMPLETE: outcomes.total()}, load.failures[:5]


@pytest.mark.parametrize("count", COUNTS)
def test_a_keeper_replaces_its_door(
    count: int, start_door: StartDoor, load: Load, manager: ServiceManager
) -> None:
    keeper = start_door(
        DoorOptions(drain=60), serving=False, environment=manager.environment, keeper=PROGRAM
    )
    manager.wait_for(is_ready)
    first = only_child(keeper)
    descriptors = descriptor_count(keeper.pid)
    for _ in range(count):
        keeper.signal(signal.SIGUSR2)
        reloading = manager.wait_for(lambda fields: "RELOADING" in fields)
        assert int(reloading["MONOTONIC_USEC"]) > 0
        manager.wait_for(is_ready)
        load.wait_progress(1)
    outcomes = load.stop()
    assert outcomes.total() >= count
    assert outcomes == {Outcome.COMPLETE: outcomes.total()}, load.failures[:5]
    # The old ones are gone, and the keeper is as it was.
    assert only_child(keeper) != first
    assert descriptor_count(keeper.pid) == descriptors
    keeper.signal(signal.SIGTERM)
    manager.wait_for(lambda fields: "STOPPING" in fields)
    assert keeper.wait() == 0


def only_child(keeper: Door) -> int:
    """The one door that the keeper has, once old ones have ended."""
    (child,) = (
        wait_until(
            lambda: found if len(found := children(keeper.pid)) == 1 else None, what="one door"
        )
        or ()
    )
    return child


def listening_doors(keeper: Door) -> set[int]:
    """The doors that have the listening socket open."""
    socket_file = f"socket:[{os.fstat(keeper.listening.fileno()).st_ino}]"
    found = set()
    for child in children(keeper.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if socket_file in open_files(child):
                found.add(child)
    return found


@contextlib.contextmanager
def conversation(keeper: Door, hosts: HostsDirectory) -> Iterator[Callable[[], None]]:
    """An open connection; the value demands that both its directions work."""
    with hosts.listen("one.example") as target, keeper.connect() as client:
        client.send(HELLO)
        with target.accept() as served:
            assert served.receive(len(HELLO)) == HELLO

            def demand() -> None:
                client.send(b"up")
                assert served.receive(2) == b"up"
                served.send(b"down")
                assert client.receive(4) == b"down"

            demand()
            yield demand


def test_old_connections_go_on_through_several_generations(
    start_door: StartDoor, hosts: HostsDirectory, manager: ServiceManager
) -> None:
    options = DoorOptions(drain=60)
    keeper = start_door(options, keeper=PROGRAM, serving=False, environment=manager.environment)
    with hosts.listen("one.example") as target:
        conversations = []
        for _ in range(5):
            manager.wait_for(is_ready)
            # Until the one before has let go of the listener it may still take a connection.
            wait_until(lambda: len(listening_doors(keeper)) == 1, what="the one door that accepts")
            client = keeper.connect()
            client.send(HELLO)
            served = target.accept()
            assert served.receive(len(HELLO)) == HELLO
            conversations.append((client, served))
            keeper.signal(signal.SIGUSR2)
        manager.wait_for(is_ready)
        assert len(children(keeper.pid)) == 6
        for client, served in conversations:
            client.send(b"up")
            assert served.receive(2) == b"up"
            served.send(b"down")
            assert client.receive(4) == b"down"
            client.close()
            served.close()
        only_child(keeper)
    keeper.signal(signal.SIGTERM)
    assert keeper.wait() == 0


def expect_ended(keeper: Door, door: int) -> None:
    wait_until(lambda: door not in children(keeper.pid), what="it has ended", seconds=30)


def test_a_door_that_dies_is_followed_by_another(
    start_door: StartDoor, hosts: HostsDirectory, manager: ServiceManager
) -> None:
    keeper = start_door(keeper=PROGRAM, environment=manager.environment)
    for _ in range(3):
        # It answers a moment before it says that it is ready; killed between the two, the first
        # one would be a door that does not start.
        manager.wait_for(is_ready)
        door = only_child(keeper)
        os.kill(door, signal.SIGKILL)
        # Until it has ended it may accept, and take a connection along.
        expect_ended(keeper, door)
        with conversation(keeper, hosts):  # connected while nobody accepts
            assert only_child(keeper) != door
    assert "the next door starts in" in keeper.messages


def test_the_program_is_read_anew_and_a_broken_one_leaves_the_old_door(
    start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path, manager: ServiceManager
) -> None:
    installed = tmp_path / "cloister-door"
    install(PROGRAM.read_bytes(), installed)
    keeper = start_door(keeper=installed, environment=manager.environment)
    manager.wait_for(is_ready)
    door = only_child(keeper)
    with conversation(keeper, hosts) as demand:
        install(b"#!/bin/sh\nexit 3\n", installed)
        keeper.signal(signal.SIGUSR2)
        failed = manager.wait_for(lambda fields: "failed" in fields.get("STATUS", ""))
        # For systemd the reload is over, and the status says how.
        assert failed["READY"] == "1"
        demand()
        assert only_child(keeper) == door
        install(PROGRAM.read_bytes(), installed)
        keeper.signal(signal.SIGUSR2)
        manager.wait_for(is_ready)
        demand()
    assert only_child(keeper) != door
    assert f"process {door} goes on" in keeper.messages


def install(content: bytes, path: Path) -> None:
    """As packages are: another file under the same name, at once."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.rename(path)


def test_a_door_that_hangs_is_ended_before_the_keeper_is_given_up(
    start_door: StartDoor, hosts: HostsDirectory, manager: ServiceManager
) -> None:
    environment = {**manager.environment, "WATCHDOG_USEC": "2000000"}
    keeper = start_door(keeper=PROGRAM, environment=environment)
    manager.wait_for(lambda fields: "WATCHDOG" in fields)
    hanging = only_child(keeper)
    os.kill(hanging, signal.SIGSTOP)
    wait_until(
        lambda: {one["State"][0] for one in thread_status_fields(hanging)} == {"T"},
        what="every thread is stopped",
    )
    with conversation(keeper, hosts):  # waits in the queue until the next door accepts
        assert only_child(keeper) != hanging
    manager.wait_for(lambda fields: "WATCHDOG" in fields)
    assert f"process {hanging} does not answer" in keeper.messages


def test_a_stop_is_for_all_generations(
    start_door: StartDoor, hosts: HostsDirectory, manager: ServiceManager
) -> None:
    keeper = start_door(DoorOptions(drain=60), keeper=PROGRAM, environment=manager.environment)
    manager.wait_for(is_ready)
    with conversation(keeper, hosts) as demand:
        keeper.signal(signal.SIGUSR2)
        manager.wait_for(is_ready)
        doors = children(keeper.pid)
        assert len(doors) == 2
        keeper.signal(signal.SIGTERM)
        manager.wait_for(lambda fields: "STOPPING" in fields)
        # systemd signals every process of the unit unless told KillMode=mixed.
        for door in doors:
            with contextlib.suppress(ProcessLookupError):
                os.kill(door, signal.SIGTERM)
        demand()
        keeper.signal(signal.SIGTERM)
        assert keeper.wait(seconds=5) == 0
        assert not any(is_running(door) for door in doors)


def test_a_keeper_is_idle_and_small(start_door: StartDoor, manager: ServiceManager) -> None:
    keeper = start_door(keeper=PROGRAM, environment=manager.environment)
    manager.wait_for(is_ready)
    rollup = Path(f"/proc/{keeper.pid}/smaps_rollup").read_text()
    private = sum(
        int(line.split()[1])
        for line in rollup.splitlines()
        if line.startswith(("Private_Dirty", "Private_Clean"))
    )
    assert private <= 1024, "kibibytes"
    assert len(list(Path(f"/proc/{keeper.pid}/task").iterdir())) == 1
    # It says that it is ready in the middle of a turn.
    wait_until(lambda: status_fields(keeper.pid)["State"][0] == "S", what="the turn's end")
    before = processor_seconds(keeper.pid)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: False, seconds=1)
    assert processor_seconds(keeper.pid) == before


@pytest.mark.parametrize("command", [["sni"], ["relay", "127.0.0.1:9"]])
def test_a_keeper_ends_with_its_idle_door(
    command: list[str], listening: socket.socket, hosts: HostsDirectory
) -> None:
    """Whoever passed the sockets takes them back, and starts it again for the next client."""
    keeper = subprocess.Popen(
        [str(PROGRAM), "keep", *command, "--exit-idle-time=200ms"],
        cwd=hosts.path,
        stdin=listening.fileno(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with keeper:
        try:
            (door,) = wait_until(lambda: children(keeper.pid), what="a door") or ()
            _, messages = keeper.communicate(timeout=10)
        finally:
            keeper.kill()
    assert keeper.returncode == 0, messages
    assert not is_running(door)
    assert "keep" not in messages, "nothing of a next door"
    connect(listening).close()


def test_a_first_door_that_does_not_start_ends_the_keeper(listening: socket.socket) -> None:
    command = [str(PROGRAM), "keep", "sni", "--hosts", "/nonexistent"]
    ended = subprocess.run(
        command, stdin=listening.fileno(), capture_output=True, text=True, check=False, timeout=20
    )
    assert ended.returncode == 1
    assert "the hosts directory /nonexistent" in ended.stderr
    assert "the door does not start" in ended.stderr
