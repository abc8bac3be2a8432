"""A hosts directory that everybody may write to, and a tenant who tries everything.

Mallory may make folders; Alice has one. Nothing that Mallory does may bring a connection to
Alice's socket, take one of hers away, or make anybody but Mallory's own clients wait.
"""

import contextlib
import os
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import Door, DoorOptions
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, UnixListener
from tests.support.tenants import ALICE, MALLORY, SWAP, acting_as

pytestmark = pytest.mark.usefixtures("as_root")

SECRET = b"alice's answer"


@pytest.fixture
def hosts() -> Iterator[HostsDirectory]:
    """A sticky directory that every user of the host reaches."""
    above = Path(tempfile.mkdtemp(prefix="hosts-"))
    try:
        above.chmod(0o755)
        hosts = HostsDirectory(above / "hosts")
        hosts.path.chmod(0o1777)
        yield hosts
    finally:
        shutil.rmtree(above)


@pytest.fixture(params=["proc", "chroot"])
def shared_door(request: pytest.FixtureRequest, start_door: StartDoor) -> Door:
    """With the host's file system and with nothing but the hosts directory."""
    return start_door(DoorOptions(chroot=request.param == "chroot", connect_timeout=1.0))


@pytest.fixture
def alice(hosts: HostsDirectory) -> Iterator[UnixListener]:
    """Alice's socket, which answers nobody by itself."""
    with acting_as(ALICE):
        listener = hosts.listen("alice.example")
    with listener:
        yield listener


@pytest.fixture
def folder(hosts: HostsDirectory) -> Path:
    """Mallory's folder."""
    with acting_as(MALLORY):
        return hosts.folder("mallory.example")


def hello(name: str) -> bytes:
    return Hello(name.encode()).records()


def expect_refused(door: Door, name: str, *, reason: str | None = None) -> None:
    """An alert, at once, and the reason in the log."""
    door.records.clear()
    with door.connect() as client:
        begun = time.monotonic()
        client.send(hello(name))
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
        assert time.monotonic() - begun < 2
    record = door.wait_for_record()
    assert record["bytes_to_target"] == 0
    assert reason is None or reason in record["reason"], record["reason"]


def expect_served(door: Door, name: str, target: UnixListener) -> None:
    with door.connect() as client:
        client.send(hello(name))
        with target.accept() as served:
            assert served.receive(len(hello(name))) == hello(name)


def test_two_tenants_serve_themselves(
    shared_door: Door, hosts: HostsDirectory, alice: UnixListener
) -> None:
    with acting_as(MALLORY):
        mallory = hosts.listen("mallory.example")
    with mallory:
        expect_served(shared_door, "alice.example", alice)
        expect_served(shared_door, "mallory.example", mallory)
        taken = hosts.path / "alice.example"
        with acting_as(MALLORY):
            for attempt in (
                lambda: taken.rename(hosts.path / "gone.example"),
                taken.mkdir,
                lambda: (hosts.path / "mallory.example").rename(taken),
                (taken / "tls-socket").unlink,
                lambda: (taken / "send-proxy-v2").write_text(""),
            ):
                with pytest.raises(OSError, match=r"not permitted|denied|exists|not empty"):
                    attempt()
        expect_served(shared_door, "alice.example", alice)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("link.example", "alice.example"),
        ("link.example", "/alice.example"),
        ("link.example", "./mallory.example/../alice.example/"),
        ("link.example", "../../../../alice.example"),
        ("mallory.example/tls-socket", "../alice.example/tls-socket"),
        ("mallory.example/tls-socket", "/alice.example/tls-socket"),
        ("mallory.example/tls-socket", "/roots.example/tls-socket"),
        ("mallory.example/tls-socket", "/hers.example/tls-socket"),
        ("mallory.example/handoff-socket", "/alice.example/tls-socket"),
    ],
)
def test_a_link_to_another_tenant_s_socket(
    name: str,
    target: str,
    shared_door: Door,
    hosts: HostsDirectory,
    alice: UnixListener,
    folder: Path,
) -> None:
    (hosts.path / "roots.example").symlink_to("alice.example")
    with acting_as(ALICE):
        (hosts.path / "hers.example").symlink_to("alice.example")
    with acting_as(MALLORY):
        (hosts.path / name).symlink_to(target)
    expect_refused(shared_door, name.partition("/")[0])
    assert not alice.is_contacted()
    # Root's links and her own are followed.
    expect_served(shared_door, "roots.example", alice)
    expect_served(shared_door, "hers.example", alice)


def test_a_protocol_s_folder_that_leads_to_another_tenant(
    shared_door: Door, hosts: HostsDirectory, alice: UnixListener, folder: Path
) -> None:
    with acting_as(MALLORY):
        (folder / "alpn").symlink_to("..")
        (hosts.path / "h2").symlink_to("alice.example")
    with shared_door.connect() as client:
        client.send(Hello(b"mallory.example", alpn=(b"h2",)).records())
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
    with acting_as(MALLORY):
        (folder / "alpn").unlink()
        (folder / "alpn").mkdir()
        (folder / "alpn" / "acme-tls%2F1").symlink_to("/alice.example")
    with shared_door.connect() as client:
        client.send(Hello(b"mallory.example", alpn=(b"acme-tls/1",)).records())
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
    assert not alice.is_contacted()


@pytest.mark.parametrize("kind", ["fifo", "file", "device", "loop", "dangling", "deep"])
@pytest.mark.parametrize("by_link", [False, True])
def test_what_is_no_socket(kind: str, by_link: bool, shared_door: Door, folder: Path) -> None:
    path = folder / ("thing" if by_link else "tls-socket")
    if kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        os.chown(path, MALLORY, MALLORY)
    with acting_as(MALLORY):
        match kind:
            case "fifo":
                os.mkfifo(path)
            case "file":
                path.write_text("")
            case "loop":
                path.symlink_to(path.name)
            case "dangling":
                path.symlink_to("nowhere")
            case "deep":
                path.symlink_to("./" * 2_000 + "x")
        if by_link:
            (folder / "tls-socket").symlink_to("thing")
    expect_refused(shared_door, "mallory.example")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_of_another_type(kind: socket.SocketKind, shared_door: Door, folder: Path) -> None:
    with acting_as(MALLORY), socket.socket(socket.AF_UNIX, kind) as wrong:
        wrong.bind(str(folder / "tls-socket"))
        (folder / "tls-socket").chmod(0o666)
        if kind is socket.SOCK_SEQPACKET:
            wrong.listen()
        with acting_as_root():
            expect_refused(shared_door, "mallory.example")


@contextlib.contextmanager
def acting_as_root() -> Iterator[None]:
    uid = os.geteuid()
    os.seteuid(0)
    try:
        yield
    finally:
        os.seteuid(uid)


@contextlib.contextmanager
def swapping(folder: Path, one: str, other: str) -> Iterator[None]:
    """Mallory exchanges the two names as fast as it goes while the block runs."""
    command = [sys.executable, "-c", SWAP, str(MALLORY), str(folder), one, other]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, "the race ended before the test did"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("what", ["socket", "folder"])
def test_renaming_faster_than_the_door_looks(
    what: str, shared_door: Door, hosts: HostsDirectory, alice: UnixListener, folder: Path
) -> None:
    """A link to Alice's takes the place of Mallory's own, again and again. However the race
    goes, no byte of a client reaches Alice."""
    with acting_as(MALLORY):
        own = UnixListener(folder / "tls-socket", backlog=4096)
        if what == "socket":
            (folder / "link").symlink_to("/alice.example/tls-socket")
        else:
            (hosts.path / "link").symlink_to("alice.example")
    names = ("tls-socket", "link") if what == "socket" else ("mallory.example", "link")
    reached = 0
    with own, swapping(folder if what == "socket" else hosts.path, *names):
        for _ in range(400):
            with shared_door.connect() as client:
                client.send(hello("mallory.example"))
                ready, _, _ = select.select([client.socket, own.socket], [], [], 10)
                assert ready, "neither refused nor served"
                if own.socket in ready:
                    own.accept().close()
                    reached += 1
                else:
                    expect_alert(client, Alert.UNRECOGNIZED_NAME)
    assert reached, "the race was never run"
    stranger = alice.accept_pending()
    while stranger is not None:
        assert stranger.receive_rest() == b"", "a client of Mallory's has reached Alice"
        stranger = alice.accept_pending()


def test_names_that_are_everybody_s_are_no_tenant_s(
    shared_door: Door, hosts: HostsDirectory, alice: UnixListener
) -> None:
    with acting_as(MALLORY):
        below, default = hosts.listen("*.example"), hosts.listen("_default")
    with below, default:
        expect_refused(shared_door, "unknown.example")
        with shared_door.connect() as client:
            client.send(Hello(None).records())
            expect_alert(client, Alert.UNRECOGNIZED_NAME)
        for given in (b"*.example", b"_default", b"*", b"%2e%2e", b"..", b"_DEFAULT"):
            with shared_door.connect() as client:
                client.send(Hello(given).records())
                expect_alert(client, Alert.UNRECOGNIZED_NAME)
        assert not below.is_contacted()
        assert not default.is_contacted()
        # Given to a tenant by root they are.
        os.chown(hosts.path / "*.example", 0, 0)
        (hosts.path / "_default").rename(hosts.path / "mallory.example")
        (hosts.path / "_default").symlink_to("mallory.example")
        expect_served(shared_door, "unknown.example", below)
        expect_served(shared_door, "unknown.other", default)
        expect_served(shared_door, "alice.example", alice)


def test_a_stopped_service_loses_no_client_to_a_wildcard(
    shared_door: Door, hosts: HostsDirectory, alice: UnixListener
) -> None:
    with hosts.listen("*.example") as below, hosts.listen("_default") as default:
        alice.socket.close()
        expect_refused(shared_door, "alice.example")
        alice.path.unlink()
        expect_refused(shared_door, "alice.example")
        (hosts.path / "alice.example").chmod(0)
        expect_refused(shared_door, "alice.example")
        assert not below.is_contacted()
        assert not default.is_contacted()
        expect_served(shared_door, "bob.example", below)


def test_a_folder_of_many_entries_slows_nobody(
    shared_door: Door, alice: UnixListener, folder: Path
) -> None:
    with acting_as(MALLORY):
        for number in range(20_000):
            (folder / f"{number:0200}").touch()
        own = UnixListener(folder / "tls-socket")
    with own:
        begun = time.monotonic()
        for _ in range(50):
            expect_served(shared_door, "mallory.example", own)
            expect_served(shared_door, "alice.example", alice)
        assert time.monotonic() - begun < 5


def test_a_socket_that_never_accepts_holds_up_its_own_clients_only(
    shared_door: Door, alice: UnixListener, folder: Path
) -> None:
    with acting_as(MALLORY):
        own = UnixListener(folder / "tls-socket", backlog=0)
    with own, contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(shared_door.connect()) for _ in range(100)]
        for client in waiting:
            client.send(hello("mallory.example"))
        for _ in range(20):
            expect_served(shared_door, "alice.example", alice)
        # One waits in the queue; the others are told so at the deadline, a second.
        refused = shared_door.wait_for_records(99 + 20, seconds=20)
    outcomes = [record["outcome"] for record in refused]
    assert outcomes.count("target-timeout") == 99


def test_a_socket_that_another_listens_on(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """As systemd makes sockets: root listens, the socket is the tenant's."""
    with acting_as(ALICE):
        path = hosts.folder("alice.example") / "tls-socket"
    with UnixListener(path) as listener:
        os.chown(path, ALICE, ALICE)
        expect_served(start_door(), "alice.example", listener)


def test_a_socket_that_another_listens_on_where_that_cannot_be_proved(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    with acting_as(ALICE):
        path = hosts.folder("alice.example") / "tls-socket"
    door = start_door(DoorOptions(chroot=True))
    with UnixListener(path) as listener:
        os.chown(path, ALICE, ALICE)
        expect_refused(door, "alice.example", reason="user 0 listens")
        # By its name alone it was contacted before it was known who listens.
        assert listener.accept().receive_rest() == b""
        os.chown(path.parent, 0, 0)
        expect_served(door, "alice.example", listener)


def test_a_proc_that_a_tenant_made(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """In a chroot that anybody may write to, /proc/self/fd is what somebody made of it."""
    with acting_as(ALICE):
        alice = hosts.listen("alice.example")
    with acting_as(MALLORY):
        descriptors = hosts.path / "proc" / "self" / "fd"
        descriptors.mkdir(parents=True)
        for number in range(3, 64):
            (descriptors / str(number)).symlink_to("/alice.example/tls-socket")
        mallory = hosts.listen("mallory.example")
    with alice, mallory:
        door = start_door(DoorOptions(chroot=True))
        expect_served(door, "mallory.example", mallory)
        assert not alice.is_contacted()
