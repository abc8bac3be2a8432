"""What a door tells its service manager: sd_notify(3), from a confined process."""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.door import DoorOptions
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory
from tests.support.processes import processor_seconds
from tests.support.service_manager import ServiceManager

HELLO = Hello(b"one.example").records()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    abstract = f"@cloister-test-{secrets.token_hex(8)}"
    address = abstract if request.param == "abstract" else str(tmp_path / "notify")
    manager = ServiceManager(address)
    yield manager
    manager.close()


def test_from_ready_to_the_last_connection(
    manager: ServiceManager, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    door = start_door(DoorOptions(drain=30), environment=manager.environment)
    ready = manager.next().fields
    assert ready == {"READY": "1", "MAINPID": str(door.pid), "STATUS": "accepting"}
    with hosts.listen("one.example") as target, door.connect() as client:
        client.send(HELLO)
        with target.accept() as served:
            served.receive(len(HELLO))
            door.signal(signal.SIGHUP)
            stopping = manager.next().fields
            assert stopping == {
                "STOPPING": "1",
                # The drain's 30 seconds, though the unit may allow less to stop.
                "EXTEND_TIMEOUT_USEC": "35000000",
                "STATUS": "draining, 1 connection left",
            }
            assert manager.next().fields == {"STATUS": "draining, 1 connection left"}
    assert door.wait() == 0


def test_ready_means_that_it_accepts_confined(start_door: StartDoor, tmp_path: Path) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    with contextlib.closing(manager):
        door = start_door(serving=False, environment=manager.environment)
        manager.wait_for(lambda fields: fields.get("READY") == "1")
        # CapEff and Seccomp of proc_pid_status(5): all of it is in force by then.
        status = Path(f"/proc/{door.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "Seccomp:\t2" in status
        with door.connect() as client:
            client.send(b"?")
            assert client.receive_rest()[:1] == b"\x15"


def test_a_watchdog_hears_every_half_of_its_time_and_nobody_else_is_woken(
    start_door: StartDoor, tmp_path: Path
) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    with contextlib.closing(manager):
        watched = start_door(environment={**manager.environment, "WATCHDOG_USEC": "400000"})
        manager.wait_for(lambda fields: "READY" in fields)
        for _ in range(3):
            assert manager.next(seconds=0.4).fields == {"WATCHDOG": "1"}
        watched.signal(signal.SIGTERM)
        assert watched.wait() == 0
        # Meant for somebody else (sd_watchdog_enabled(3)): no message, and no wake-up.
        other = {**manager.environment, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}
        unwatched = start_door(environment=other)
        manager.wait_for(lambda fields: "READY" in fields)
        before = processor_seconds(unwatched.pid)
        manager.expect_silence(1.0)
        assert processor_seconds(unwatched.pid) == before


@pytest.mark.usefixtures("as_root")
def test_a_stuck_worker_is_not_hidden_from_the_watchdog(
    start_door: StartDoor, tmp_path: Path
) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    with contextlib.closing(manager):
        door = start_door(
            DoorOptions(workers=2),
            environment={**manager.environment, "WATCHDOG_USEC": "400000"},
        )
        manager.wait_for(lambda fields: "WATCHDOG" in fields)
        worker = max(int(task.name) for task in Path(f"/proc/{door.pid}/task").iterdir())
        with stopped_thread(worker):
            # A message that was on its way may still come.
            with contextlib.suppress(TimeoutError):
                manager.next(seconds=0.4)
            manager.expect_silence(1.0)
        manager.wait_for(lambda fields: "WATCHDOG" in fields)
    assert "does not answer" in door.messages


@contextlib.contextmanager
def stopped_thread(thread: int) -> Iterator[None]:
    """Holds one thread of a process (ptrace(2)), which SIGSTOP cannot: it stops them all."""
    seize, interrupt, detach = 0x4206, 0x4207, 17
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request: int) -> None:
        if library.ptrace(request, thread, None, None) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    ptrace(seize)
    ptrace(interrupt)
    # __WALL: wait(2) for a thread that is no child.
    os.waitpid(thread, 0x40000000)
    try:
        yield
    finally:
        ptrace(detach)


def test_a_listener_is_stored_where_the_manager_offers_it(
    start_door: StartDoor, tmp_path: Path, listening: socket.socket
) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    with contextlib.closing(manager):
        environment = {**manager.environment, "FDSTORE": "4"}
        start_door(passing="listen-fds", environment=environment)
        stored = manager.next()
        assert stored.fields == {"FDSTORE": "1", "FDNAME": "https"}
        (descriptor,) = stored.descriptors
        assert os.fstat(descriptor).st_ino == os.fstat(listening.fileno()).st_ino
        assert manager.next().fields["READY"] == "1"


def test_without_an_offer_nothing_is_stored(start_door: StartDoor, tmp_path: Path) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    with contextlib.closing(manager):
        for environment in ({}, {"FDSTORE": "0"}):
            door = start_door(environment={**manager.environment, **environment})
            assert "READY" in manager.next().fields
            door.signal(signal.SIGKILL)
            door.wait()


def test_an_unusable_address_is_said_and_serving_goes_on(start_door: StartDoor) -> None:
    door = start_door(environment={"NOTIFY_SOCKET": "/nonexistent/notify"})
    assert "NOTIFY_SOCKET=/nonexistent/notify" in door.messages
