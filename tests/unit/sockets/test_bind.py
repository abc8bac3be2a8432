"""Listening sockets: addresses, permissions, replacement, removal."""

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cloister.model.errors import CloisterError, NotPermittedError
from cloister.model.listener import SocketOptions, TcpAddress, UnixAddress, VsockAddress
from cloister.sockets import path as socket_path
from cloister.sockets.bind import BoundSocket, bind_listener

OPTIONS = SocketOptions()
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def bind(path: Path, options: SocketOptions = OPTIONS) -> BoundSocket:
    return bind_listener(UnixAddress(str(path)), options)


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def descriptors() -> list[str]:
    return names(Path("/proc/self/fd"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_ipv4_and_ipv6_of_one_port_coexist() -> None:
    four = bind_listener(TcpAddress("0.0.0.0", 0), OPTIONS)
    assert isinstance(four.address, TcpAddress)
    six = bind_listener(TcpAddress("::", four.address.port), OPTIONS)
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, four.address.port), timeout=5).close()
    assert str(six.address) == f"[::]:{four.address.port}"
    for bound in (four, six):
        assert not bound.socket.getblocking()
        assert not os.get_inheritable(bound.socket.fileno())
        bound.close()
        bound.close()


def test_a_tcp_port_in_use_names_its_holder() -> None:
    held = bind_listener(TcpAddress("127.0.0.1", 0), OPTIONS)
    before = descriptors()
    with pytest.raises(CloisterError, match="in use") as caught:
        bind_listener(held.address, OPTIONS)
    assert f"process {os.getpid()} (" in str(caught.value.why)
    assert descriptors() == before
    held.close()


def test_a_wildcard_overlaps_a_single_address() -> None:
    held = bind_listener(TcpAddress("127.0.0.1", 0), OPTIONS)
    assert isinstance(held.address, TcpAddress)
    with pytest.raises(CloisterError) as caught:
        bind_listener(TcpAddress("0.0.0.0", held.address.port), OPTIONS)
    assert str(os.getpid()) in str(caught.value.why)
    held.close()


@pytest.mark.parametrize("host", ["::", "::ffff:127.0.0.1"])
def test_a_foreign_socket_for_both_families_is_found(host: str) -> None:
    with socket.socket(socket.AF_INET6) as foreign:
        foreign.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        foreign.bind((host, 0))
        foreign.listen()
        with pytest.raises(CloisterError, match="in use") as caught:
            bind_listener(TcpAddress("127.0.0.1", foreign.getsockname()[1]), OPTIONS)
    assert f"process {os.getpid()} (" in str(caught.value.why)


def test_an_address_of_no_interface_says_so() -> None:
    with pytest.raises(CloisterError) as caught:
        bind_listener(TcpAddress("192.0.2.1", 0), OPTIONS)
    assert caught.value.why == "no interface has this address"


@root_only
def test_a_low_port_without_rights_says_what_to_do() -> None:
    script = (
        "import os, socket\n"
        "socket.getaddrinfo('127.0.0.1', 1)  # loads a codec that nobody may not read\n"
        "from cloister.sockets.bind import bind_listener\n"
        "from cloister.model.errors import NotPermittedError\n"
        "from cloister.model.listener import SocketOptions, TcpAddress\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: bind_listener(TcpAddress('127.0.0.1', 1), SocketOptions())\n"
        "except NotPermittedError as error: print(error.why, error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "CAP_NET_BIND_SERVICE" in done.stdout, done.stderr
    assert "ip_unprivileged_port_start" in done.stdout


def test_ports_for_virtual_machines() -> None:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError as error:
        pytest.skip(f"this kernel has no vsock: {error}")
    address = VsockAddress(None, 50_000 + os.getpid() % 10_000)
    bound = bind_listener(address, OPTIONS)
    assert bound.socket.getsockname() == (socket.VMADDR_CID_ANY, address.port)
    with pytest.raises(CloisterError, match="cannot be bound"):
        bind_listener(address, OPTIONS)
    bound.close()


def test_abstract_names() -> None:
    address = UnixAddress(f"cloister-test-{os.getpid()}", abstract=True)
    bound = bind_listener(address, OPTIONS)
    with pytest.raises(CloisterError, match="in use") as caught:
        bind_listener(address, OPTIONS)
    assert str(os.getpid()) in str(caught.value.why)
    bound.close()
    bind_listener(address, OPTIONS).close()
    with pytest.raises(CloisterError, match="108 bytes"):
        bind_listener(UnixAddress("x" * 108, abstract=True), OPTIONS)
    bind_listener(UnixAddress("x" * 107, abstract=True), OPTIONS).close()


def test_a_path_is_made_with_its_directories_and_removed_with_them(tmp_path: Path) -> None:
    before = descriptors()
    path = tmp_path / "made" / "too" / "web.sock"
    options = SocketOptions(mode=0o620, directory_mode=0o750)
    old = os.umask(0o077)
    try:
        bound = bind(path, options)
    finally:
        os.umask(old)
    assert mode(path) == 0o620
    assert mode(path.parent) == mode(path.parent.parent) == 0o750
    connect(path).close()
    assert names(path.parent) == ["web.sock"]
    bound.close()
    bound.close()
    assert names(tmp_path) == []
    assert descriptors() == before


def test_a_wide_umask_opens_nothing(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        bound = bind(tmp_path / "x" / "web.sock")
    finally:
        os.umask(old)
    assert mode(tmp_path / "x" / "web.sock") == 0o660
    assert mode(tmp_path / "x") == 0o755
    bound.close()


def test_directories_that_were_there_or_are_in_use_stay(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    one = bind(tmp_path / "mine" / "made" / "1.sock")
    two = bind(tmp_path / "mine" / "made" / "2.sock")
    one.close()
    assert names(tmp_path / "mine" / "made") == ["2.sock"]
    two.close()
    assert names(tmp_path / "mine") == []


@root_only
def test_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "made" / "web.sock"
    bound = bind(path, SocketOptions(owner="nobody", group="4242", directory_mode=0o750))
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 4242)
    assert (path.parent.stat().st_uid, path.parent.stat().st_gid) == (0, 4242)
    bound.close()
    with pytest.raises(CloisterError, match="no user 'nobody-at-all'"):
        bind(path, SocketOptions(owner="nobody-at-all"))
    with pytest.raises(CloisterError, match="no group 'nobody-at-all'"):
        bind(path, SocketOptions(group="nobody-at-all"))


def test_nobody_can_connect_before_the_permissions_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[int]]] = []

    def observe(name: str) -> None:
        original = getattr(os, name)

        def observed(*arguments: object, **options: object) -> object:
            private = [mode(entry) for entry in tmp_path.iterdir() if entry.is_dir()]
            seen.append((name, private))
            assert not (tmp_path / "web.sock").exists()
            return original(*arguments, **options)

        monkeypatch.setattr(socket_path.os, name, observed)

    for name in ("chown", "chmod", "rename"):
        observe(name)
    bound = bind(tmp_path / "web.sock")
    assert seen == [("chown", [0o700]), ("chmod", [0o700]), ("rename", [0o700])]
    bound.close()


def test_a_live_listener_is_never_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    first = bind(path)
    inode = path.stat().st_ino
    before = descriptors()
    with pytest.raises(CloisterError, match="in use") as caught:
        bind(path)
    assert f"process {os.getpid()} (" in str(caught.value.why)
    assert path.stat().st_ino == inode
    assert descriptors() == before
    first.close()


def test_a_live_listener_with_a_full_queue_is_live(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    first = bind(path, SocketOptions(backlog=0))
    waiting = [connect(path)]
    with pytest.raises(CloisterError, match="in use"):
        bind(path)
    for client in waiting:
        client.close()
    first.close()


def test_a_datagram_socket_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        held.bind(str(path))
        with pytest.raises(CloisterError, match="in use"):
            bind(path)


def test_a_dead_socket_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    gone = threading.Event()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            if not path.exists():
                gone.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    bound = bind(path)
    stop.set()
    watcher.join()
    connect(path).close()
    assert not gone.is_set()
    bound.close()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_not_taken_away(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "web.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("elsewhere")
    with pytest.raises(CloisterError, match="something else has this name"):
        bind(path)
    assert names(tmp_path) == ["web.sock"]


def test_close_leaves_another_socket_alone(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    bound = bind(path)
    path.rename(tmp_path / "moved.sock")
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    bound.close()
    assert path.is_socket()
    other.close()


@pytest.mark.parametrize("length", [107, 108, 250])
def test_long_names_and_long_paths(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("d" * 200) / ("e" * 200)
    path = folder / ("s" * length)
    bound = bind(path)
    held = os.open(path, os.O_PATH)
    connect(Path(f"/proc/self/fd/{held}")).close()
    os.close(held)
    with pytest.raises(CloisterError, match="in use"):
        bind(path)
    bound.close()
    assert names(tmp_path) == []


@root_only
@pytest.mark.parametrize(
    ("owner", "bits", "reason"),
    [
        (0, 0o777, "everybody may write"),
        (65534, 0o755, "belongs to user 65534"),
        (0, 0o1777, None),
        (0, 0o755, None),
    ],
)
def test_unsafe_directories_are_refused(
    tmp_path: Path, owner: int, bits: int, reason: str | None
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.chown(folder, owner, 0)
    folder.chmod(bits)
    if reason is None:
        bind(folder / "made" / "web.sock").close()
        return
    with pytest.raises(NotPermittedError, match="not safe") as caught:
        bind(folder / "made" / "web.sock")
    assert reason in str(caught.value.why)
    assert names(folder) == []


@root_only
def test_a_directory_that_a_foreign_group_writes_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.chown(folder, 0, 4242)
    folder.chmod(0o775)
    with pytest.raises(NotPermittedError) as caught:
        bind(folder / "web.sock")
    assert "group 4242 may write" in str(caught.value.why)
    bind(folder / "web.sock", SocketOptions(group="4242")).close()


def test_links_to_directories_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "relative").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    (tmp_path / "up").symlink_to("real/../real")
    for link in ("relative", "absolute", "up"):
        bound = bind(tmp_path / link / "web.sock")
        assert (tmp_path / "real" / "web.sock").is_socket()
        bound.close()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(CloisterError, match="circle of links"):
        bind(tmp_path / "circle" / "web.sock")


@root_only
def test_a_foreign_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    os.lchown(tmp_path / "link", 65534, 65534)
    with pytest.raises(NotPermittedError, match="link"):
        bind(tmp_path / "link" / "web.sock")


@root_only
def test_lack_of_rights_names_the_place(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from cloister.sockets.bind import bind_listener\n"
        "from cloister.model.errors import NotPermittedError\n"
        "from cloister.model.listener import SocketOptions, UnixAddress\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: bind_listener(UnixAddress(sys.argv[1]), SocketOptions())\n"
        "except NotPermittedError as error: print(error.what, error.why)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "/usr/never-made/web.sock"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "/usr/never-made cannot be used" in done.stdout, done.stderr
    assert "for user 65534" in done.stdout


def test_two_at_once_get_one_socket(tmp_path: Path) -> None:
    path = tmp_path / "made" / "web.sock"
    outcomes: list[BoundSocket | CloisterError] = []

    def attempt() -> None:
        try:
            outcomes.append(bind(path))
        except CloisterError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bound = [outcome for outcome in outcomes if isinstance(outcome, BoundSocket)]
    assert len(bound) == 1
    connect(path).close()
    bound[0].close()
    assert names(tmp_path) == []


@pytest.mark.parametrize("path", ["relative.sock", "/tmp/", "/tmp/.", "/tmp/..", "/tmp/a\0b"])
def test_impossible_paths(path: str) -> None:
    with pytest.raises(CloisterError, match="cannot be a socket's path"):
        bind_listener(UnixAddress(path), OPTIONS)
