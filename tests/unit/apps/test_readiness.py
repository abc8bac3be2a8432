"""How readiness is told."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.apps.readiness import (
    DATAGRAM_LIMIT,
    Notification,
    NotifySocket,
    parse_notification,
)
from cloister.model.isolation import HostIdentity

OURSELVES = HostIdentity(os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("datagram", "meaning"),
    [
        (b"READY=1", Notification(ready=True)),
        (b"READY=1\nSTATUS=warm\n", Notification(ready=True, status="warm")),
        (b"STOPPING=1\nMAINPID=1", Notification(stopping=True)),
        (b"READY=0", Notification()),
        (b"READY=1\nREADY=2", Notification()),
        (b"READY", Notification()),
        (b"XREADY=1\n=1\n", Notification()),
        (b"STATUS=a=b", Notification(status="a=b")),
        (b"X_CLOISTER_RELIEF=1", Notification(relief=True)),
        (b"X_CLOISTER_RELIEF=yes", Notification()),
        (b"STATUS=\xff", Notification(status="\ufffd")),
        (b"STATUS=" + b"x" * 1000, Notification(status="x" * 200)),
    ],
)
def test_a_notification(datagram: bytes, meaning: Notification) -> None:
    assert parse_notification(datagram) == meaning


@given(st.binary())
def test_any_datagram_has_a_meaning(datagram: bytes) -> None:
    assert isinstance(parse_notification(datagram), Notification)


def send(path: Path | str, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, str(path))


def received(notify: NotifySocket, path: Path) -> list[Notification]:
    """What arrives up to a last message, sent here by the socket's own user."""

    async def scenario() -> list[Notification]:
        found: list[Notification] = []
        done = asyncio.Event()

        def on_notification(notification: Notification) -> None:
            found.append(notification)
            if notification.status == "last":
                done.set()

        notify.watch(on_notification)
        send(path, b"STATUS=last")
        await asyncio.wait_for(done.wait(), 5)
        return found[:-1]

    return asyncio.run(scenario())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notify"


@pytest.fixture
def notify(path: Path) -> Iterator[NotifySocket]:
    made = NotifySocket(str(path), OURSELVES)
    yield made
    made.close()
    assert not path.exists()


def test_messages_of_the_right_user_arrive(notify: NotifySocket, path: Path) -> None:
    send(path, b"READY=1", b"STOPPING=1")
    assert received(notify, path) == [Notification(ready=True), Notification(stopping=True)]


def test_the_socket_is_closed_to_others(notify: NotifySocket, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_datagram_beyond_the_limit_counts_for_nothing(notify: NotifySocket, path: Path) -> None:
    send(path, b"READY=1\n" + b"x" * DATAGRAM_LIMIT)
    assert received(notify, path) == []


def test_descriptors_sent_along_do_not_stay_open(notify: NotifySocket, path: Path) -> None:
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(path))
        socket.send_fds(sender, [b"FDSTORE=1\nREADY=1"], [writing])
    os.close(writing)
    assert received(notify, path) == [Notification(ready=True)]
    assert os.read(reading, 1) == b""  # end of file: no writing end is left anywhere
    os.close(reading)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to speak as another user")
def test_messages_of_another_user_count_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    notify = NotifySocket(str(path), HostIdentity(54321, 54321))
    assert (path.stat().st_uid, path.stat().st_gid) == (54321, 54321)
    stranger = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
        "s.connect(sys.argv[1]); os.setuid(int(sys.argv[2])); s.send(sys.argv[3].encode())"
    )

    def speak(uid: int, text: str) -> None:
        subprocess.run([sys.executable, "-c", stranger, path, str(uid), text], check=True)

    async def scenario() -> list[Notification]:
        found: list[Notification] = []
        done = asyncio.Event()

        def on_notification(notification: Notification) -> None:
            found.append(notification)
            done.set()

        notify.watch(on_notification)
        await asyncio.to_thread(speak, 54322, "STATUS=stranger")
        await asyncio.to_thread(speak, 54321, "STATUS=friend")
        await asyncio.wait_for(done.wait(), 5)
        notify.close()
        return found

    assert asyncio.run(scenario()) == [Notification(status="friend")]


def test_a_path_longer_than_sun_path(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    notify = NotifySocket(str(folder / "notify"), OURSELVES)
    descriptor = os.open(folder, os.O_PATH)
    send(f"/proc/self/fd/{descriptor}/notify", b"READY=1")
    os.close(descriptor)
    notify.close()
    assert list(folder.iterdir()) == []
