"""The end: nothing is lost that can be answered, and nothing is left behind."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.up import SITES, Client, Traces, Up, have_ended, open_folder
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def up(folder: Path) -> Iterator[Up]:
    running = Up(folder)
    running.write(SITES)
    yield running
    running.close()


def family(up: Up) -> list[psutil.Process]:
    assert up.process is not None
    return psutil.Process(up.process.pid).children(recursive=True)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left(up: Up, folder: Path, signum: int) -> None:
    before = Traces(folder, ignore=("state", "log"))
    up.start()
    up.wait_ready()
    port = up.port
    assert up.curl("one.example").startswith("asgi")
    processes = family(up)
    assert len(processes) >= 3
    during = Traces(folder, ignore=("state", "log"))
    assert during.sockets
    assert during.files != before.files
    assert up.stop(signum) == 0
    assert [process for process in processes if process.is_running()] == []
    assert Traces(folder, ignore=("state", "log")) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    assert up.said("cloister")[-2:] == ["stopping", "stopped"]
    assert [line for line in up.log() if line["level"] == "error"] == []


def test_a_request_under_way_is_answered(up: Up) -> None:
    up.start()
    up.wait_ready()
    client = Client(up, "one.example")
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(client.get("/slow")))
    asking.start()
    wait_until(lambda: "slow began" in up.said("one"), what="the request", seconds=30)
    assert up.stop() == 0
    asking.join(30)
    assert answers
    assert answers[0].startswith(b"asgi https /slow")


def test_an_idle_connection_does_not_hold_it_up(up: Up) -> None:
    up.start()
    up.wait_ready()
    client = Client(up, "two.example")
    with (
        socket.create_connection(client._address, 30) as plain,
        client._context.wrap_socket(plain, server_hostname="two.example") as idle,
    ):
        idle.sendall(b"GET / HTTP/1.1\r\nhost: two.example\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        # As every client does: it reads on, and closes when the application has closed.
        reading = threading.Thread(target=lambda: (idle.recv(1), idle.close()))
        reading.start()
        assert up.stop() == 0
        reading.join(10)
    assert time.monotonic() - began < 8  # less than the ten seconds that a drain may take


def test_a_stubborn_application_is_killed(up: Up) -> None:
    # Python's exit waits for a thread, and this one does not end.
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
    up.write({"stubborn": SITES["two"] + thread})
    text = up.config.read_text().replace('stop-timeout = "5s"', 'stop-timeout = "1s"')
    up.config.write_text(text)
    up.start()
    up.wait_ready()
    processes = family(up)
    assert up.stop() == 0
    assert have_ended(processes)


def test_a_second_signal_waits_for_nobody(up: Up) -> None:
    up.start()
    up.wait_ready()
    processes = family(up)
    client = Client(up, "two.example")
    with socket.create_connection(client._address, 30) as silent:
        # The door waits for the rest of this hello, for ten seconds if it may.
        silent.sendall(b"\x16\x03\x01")
        wait_until(lambda: (up.status().door.active or 0) >= 1, what="the connection", seconds=30)
        assert up.process is not None
        began = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in up.said("cloister"), what="the first signal", seconds=30)
        assert up.stop(signal.SIGINT, 5) == 0
    assert time.monotonic() - began < 5
    wait_until(lambda: have_ended(processes), what="the end of every process", seconds=5)


def test_a_stop_while_it_starts(up: Up, folder: Path) -> None:
    up.write({"slow": "import time\ntime.sleep(1000)\n"})
    before = Traces(folder, ignore=("state", "log"))
    up.start()
    wait_until((up.runtime / "control.sock").exists, what="the control socket", seconds=30)
    wait_until(
        lambda: up.app("slow").state == "starting", what="the application's start", seconds=30
    )
    assert up.stop() == 0
    assert Traces(folder, ignore=("state", "log")) == before
