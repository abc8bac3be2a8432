"""What all tests of the door share: a hosts directory, a listener, doors, certificates."""

import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Authority
from tests.support.door import Door, DoorOptions, Passing, listen_tcp
from tests.support.peers import HostsDirectory
from tests.support.relay import Relay, Target, listen

StartDoor = Callable[..., Door]
StartRelay = Callable[..., Relay]


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
        environment: Mapping[str, str] | None = None,
        keeper: Path | None = None,
    ) -> Door:
        door = Door(
            on or listening,
            hosts.path,
            passing=passing,
            options=options,
            environment=environment,
            keeper=keeper,
        )
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


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a door of another user may enter, with a short path."""
    with tempfile.TemporaryDirectory(prefix="cloister-relay-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def make_target(open_folder: Path) -> Iterator[Callable[[str], Target]]:
    """Opens targets of a kind: see :func:`tests.support.relay.listen`."""
    targets: list[Target] = []

    def make(kind: str) -> Target:
        targets.append(Target(listen(kind, open_folder, name=f"target-{len(targets)}")))
        return targets[-1]

    try:
        yield make
    finally:
        for target in targets:
            target.close()


@pytest.fixture
def start_relay(open_folder: Path) -> Iterator[StartRelay]:
    """Starts relays on new listening sockets; none may panic or end but well."""
    relays: list[Relay] = []

    def start(*arguments: str, on: Sequence[str | socket.socket] = ("tcp",), **more: Any) -> Relay:
        name = f"listener-{len(relays)}"
        listening = [
            listen(one, open_folder, name=f"{name}-{place}") if isinstance(one, str) else one
            for place, one in enumerate(on)
        ]
        relays.append(Relay(listening, arguments, **more))
        return relays[-1]

    try:
        yield start
        for relay in relays:
            assert "panicked" not in relay.messages, relay.messages
            assert relay.process.poll() in {None, 0, -signal.SIGKILL}, relay.messages
    finally:
        for relay in relays:
            relay.kill()
            for listening in relay.listening:
                listening.close()
