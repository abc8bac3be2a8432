"""What all tests of the door share: a hosts directory, a listener, doors, certificates."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.door import Door, DoorOptions, Passing, listen_tcp
from tests.support.peers import HostsDirectory

StartDoor = Callable[..., Door]


@pytest.fixture
def hosts(tmp_path: Path) -> HostsDirectory:
    """An empty hosts directory; what lies beside it belongs to no host."""
    return HostsDirectory(tmp_path / "hosts")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A listening TCP socket on loopback."""
    with listen_tcp() as listening:
        yield listening


@pytest.fixture
def listening_ipv6() -> Iterator[socket.socket]:
    """A listening IPv6 socket on loopback."""
    try:
        listening = listen_tcp("::1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with listening:
        yield listening


@pytest.fixture
def start_door(hosts: HostsDirectory, listening: socket.socket) -> Iterator[StartDoor]:
    """Starts doors that serve; each must be alive or have ended well when the test ends."""
    doors: list[Door] = []

    def start(
        options: DoorOptions | None = None,
        *,
        passing: Passing = "stdin",
        on: socket.socket | None = None,
        serving: bool = True,
    ) -> Door:
        door = Door(on or listening, hosts.path, passing=passing, options=options)
        doors.append(door)
        if serving:
            door.wait_until_serving()
        return door

    try:
        yield start
        for door in doors:
            assert "panicked" not in door.messages, door.messages
            assert door.process.poll() in {None, 0, -signal.SIGKILL}, door.messages
    finally:
        for door in doors:
            door.kill()


@pytest.fixture
def door(start_door: StartDoor) -> Door:
    """A door with its default settings, on ``listening`` and ``hosts``."""
    return start_door()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One certificate authority for the whole run."""
    return Authority(tmp_path_factory.mktemp("authority"))
