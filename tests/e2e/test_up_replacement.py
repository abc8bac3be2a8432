"""The supervisor replaces its door: no connection is lost, and the counters go on."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import keyed
from tests.support.hello import Hello
from tests.support.keyed import Outcome
from tests.support.load import Load
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

HELLO = Hello(b"keyed.example").records()
FEW = 30
MANY = 1000


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


def serve_keyed(up: Up) -> None:
    """One application that speaks keyed conversations, behind the door."""
    directory = up.folder / "apps" / "keyed"
    directory.mkdir(parents=True)
    (directory / "keyed.py").write_text(Path(keyed.__file__).read_text())
    up.write(
        {},
        f"""
[apps.keyed]
command = ["/usr/bin/python3", "{directory}/keyed.py"]
directory = "{directory}"
hosts = ["keyed.example"]
ready = "accept"
""",
    )
    up.start()
    up.wait_ready()


def load(up: Up) -> Load:
    address = ("127.0.0.1", up.port)
    return Load(lambda: socket.create_connection(address, 10), preface=HELLO)


@pytest.mark.parametrize(
    "count", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_the_door_is_replaced_under_load(up: Up, count: int) -> None:
    serve_keyed(up)
    clients = load(up)
    pids = set()
    for _ in range(count):
        status = up.replace_door()
        assert status.pid not in pids
        pids.add(status.pid)
        clients.wait_progress(1)
    outcomes = clients.stop()
    assert outcomes == {Outcome.COMPLETE: outcomes.total()}, clients.failures[:5]
    wait_until(lambda: up.status().door.draining == 0, what="the end of the old doors")
    status = up.status()
    assert status.door.replacements == count
    assert status.door.restarts == 0
    # Counted by dozens of doors, added up by the supervisor.
    assert status.apps[0].traffic is not None
    assert status.apps[0].traffic.accepted == outcomes.total()
    assert status.door.outcomes["complete"] == outcomes.total()
    assert status.listeners[0].active == 0


def test_an_open_connection_outlives_its_door_and_a_crash_of_the_next(up: Up) -> None:
    serve_keyed(up)
    with socket.create_connection(("127.0.0.1", up.port), 10) as client:
        conversation = keyed.Conversation(7, up=100, down=5)
        client.sendall(HELLO + conversation.header() + keyed.piece(7, 0, 50))
        assert client.recv(5, socket.MSG_WAITALL) == keyed.piece(7 ^ 0x5555, 0, 5)
        first = up.status().door.pid
        replaced = up.replace_door()
        assert replaced.draining == 1
        assert replaced.pid not in (first, None)
        assert replaced.pid is not None
        os.kill(replaced.pid, signal.SIGKILL)
        wait_until(lambda: up.status().door.restarts == 1, what="a new door")
        up.wait_ready()
        client.sendall(keyed.piece(7, 50, 50))
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"verdict: good\r\n\x00"
    wait_until(lambda: up.status().door.draining == 0, what="the end of the old door")
    assert up.stop() == 0


def test_sighup_replaces_the_door(up: Up) -> None:
    serve_keyed(up)
    first = up.status().door.pid
    assert up.process is not None
    up.process.send_signal(signal.SIGHUP)
    wait_until(lambda: up.status().door.replacements == 1, what="another door")
    assert up.status().door.pid != first


def test_a_file_that_is_edited_during_a_reload_is_taken_too(up: Up) -> None:
    serve_keyed(up)
    assert up.process is not None
    text = up.config.read_text()
    for version in range(2, 5):
        # The last reload has read the file, and replaces the door still.
        up.config.write_text(f"{text}# version {version}\n")
        up.process.send_signal(signal.SIGHUP)
        line = f"the configuration file is in force: version {version}"
        wait_until(lambda said=line: said in up.said("cloister"), what=line, seconds=60)


def test_everything_stops_with_old_doors_draining(up: Up) -> None:
    serve_keyed(up)
    clients = []
    for _ in range(3):
        client = socket.create_connection(("127.0.0.1", up.port), 10)
        client.sendall(HELLO + keyed.Conversation(1, up=10, down=1).header())
        assert client.recv(1) != b""
        clients.append(client)
        up.replace_door()
    assert up.status().door.draining == 3
    # The application ends, which ends the connections, which ends the doors.
    assert up.stop() == 0
    for client in clients:
        client.close()
