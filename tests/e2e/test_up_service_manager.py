"""What ``cloister up`` tells its own supervisor, and what it gets back from it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.support.service_manager import ServiceManager
from tests.support.up import SITES, Client, Up, open_folder
from tests.support.waiting import wait_until


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


@pytest.fixture
def manager(up: Up) -> Iterator[ServiceManager]:
    with contextlib.closing(ServiceManager(str(up.folder / "notify"))) as manager:
        yield manager


def test_ready_reloading_alive_stopping(up: Up, manager: ServiceManager) -> None:
    up.write(SITES)
    up.start(environment={**manager.environment, "WATCHDOG_USEC": "1000000"})
    assert manager.next(seconds=30).fields == {"READY": "1", "STATUS": "serving"}
    assert [app.state for app in up.status().apps] == ["ready", "ready"]
    for _ in range(2):
        assert manager.next(seconds=2).fields == {"WATCHDOG": "1"}
    assert up.process is not None
    first = up.status().door.pid
    up.process.send_signal(signal.SIGHUP)
    reloading = manager.wait_for(lambda fields: "RELOADING" in fields)
    assert int(reloading["MONOTONIC_USEC"]) > 0
    manager.wait_for(lambda fields: "READY" in fields)
    assert up.status().door.pid != first
    up.process.send_signal(signal.SIGTERM)
    stopping = manager.wait_for(lambda fields: "STOPPING" in fields)
    # Ten seconds of the door, five of an application, and some more.
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) == 25_000_000
    assert up.process.wait(30) == 0


@pytest.mark.usefixtures("as_root")
def test_a_hanging_door_is_ended_and_the_supervisor_stays(up: Up, manager: ServiceManager) -> None:
    up.write(SITES)
    up.start(environment={**manager.environment, "WATCHDOG_USEC": "1000000"})
    manager.wait_for(lambda fields: "WATCHDOG" in fields, seconds=30)
    door = up.status().door.pid
    assert door is not None
    os.kill(door, signal.SIGSTOP)
    wait_until(lambda: up.status().door.restarts == 1, what="another door", seconds=30)
    up.wait_ready()
    assert Client(up, "two.example").get() == b"wsgi https /"
    assert any("does not answer" in message for message in up.said("cloister"))


def test_listeners_are_kept_over_a_restart_with_those_who_wait(
    up: Up, manager: ServiceManager
) -> None:
    up.write(SITES)
    offer = {**manager.environment, "FDSTORE": "8"}
    up.start(environment=offer)
    up.wait_ready()
    stored = manager.wait_for(lambda fields: "FDSTORE" in fields)
    assert stored["FDNAME"] == "https.0"
    (descriptor,) = manager.messages[-1].descriptors
    port = up.port
    assert up.stop() == 0
    # As systemd holds it: whoever comes meanwhile waits.
    with socket.create_connection(("127.0.0.1", port), 10) as waiting:
        text = up.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}")
        up.config.write_text(text)
        script = f'exec 3<&{descriptor}; export LISTEN_PID=$$; exec "$@"'
        command = [sys.executable, "-m", "cloister", "up", str(up.config)]
        with up.log_path.open("wb") as log:
            up.process = subprocess.Popen(
                ["bash", "-c", script, "bash", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(descriptor,),
                env={**os.environ, **offer, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "https.0"},
            )
        up.wait_ready()
        assert up.port == port
        waiting.sendall(b"?")
        assert waiting.recv(1) == b"\x15", "the alert of a door that took it from the queue"
    assert Client(up, "two.example").get() == b"wsgi https /"


def test_a_stored_socket_that_no_listener_names_is_let_go(up: Up, manager: ServiceManager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as old:
        up.write(SITES)
        script = f'exec 3<&{old.fileno()}; export LISTEN_PID=$$; exec "$@"'
        command = [sys.executable, "-m", "cloister", "up", str(up.config)]
        environment = {**manager.environment, "FDSTORE": "8", "LISTEN_FDNAMES": "gone.0"}
        with up.log_path.open("wb") as log:
            up.process = subprocess.Popen(
                ["bash", "-c", script, "bash", *command],
                stdout=log,
                stderr=log,
                pass_fds=(old.fileno(),),
                env={**os.environ, **environment, "LISTEN_FDS": "1"},
            )
        gone = manager.wait_for(lambda fields: "FDSTOREREMOVE" in fields, seconds=30)
        assert gone["FDNAME"] == "gone.0"
        up.wait_ready()
