"""The supervisor's sockets: who may reach them, and that all are given back."""

import os
import socket
import stat
from pathlib import Path

import pytest

from cloister.apps.endpoints import Endpoints
from cloister.apps.readiness import NotifySocket
from cloister.apps.runtime import RuntimeDirectory
from cloister.model.app import App, PythonProgram, Readiness
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Listener, TcpAddress, UnixAddress
from cloister.model.route import ServerNameRoute
from cloister.model.snapshot import Paths
from cloister.sockets.passed import PassedSockets

ROOT = os.geteuid() == 0
DOOR = HostIdentity(54320, 54320) if ROOT else HostIdentity(os.getuid(), os.getgid())
BLOG = HostIdentity(54321, 54321) if ROOT else DOOR


def app(name: str, ready: Readiness) -> App:
    return App(name, PythonProgram("web", "app"), "/", ready=ready)


def mode(path: Path | str) -> tuple[str, int]:
    found = os.lstat(path)
    return stat.filemode(found.st_mode), found.st_gid


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(runtime=str(tmp_path / "run"), state=str(tmp_path / "state"))


def test_who_may_reach_an_application(paths: Paths, tmp_path: Path) -> None:
    runtime = RuntimeDirectory(paths.runtime)
    endpoints = Endpoints(paths, DOOR)
    blog = endpoints.add_app(app("blog", Readiness.NOTIFY), BLOG)
    plain = endpoints.add_app(app("plain", Readiness.ACCEPT), BLOG)
    folder = Path(blog.path).parent
    assert mode(folder.parent)[0] == "drwx--x--x"
    assert mode(folder) == ("drwxr-x---", DOOR.gid)
    assert mode(blog.path) == ("srw-rw----", DOOR.gid)
    notify = NotifySocket(blog.notify_path(3), BLOG)
    assert mode(blog.notify_path(3)) == ("srw-------", BLOG.gid)
    # Whoever sees the host's files has to come to it, and passes no folder of an application's.
    notify.move(blog.open_notify_path(3))
    assert mode(blog.open_notify_path(3)) == ("srw-------", BLOG.gid)
    assert Path(blog.open_notify_path(3)).parent == folder.parent
    assert not Path(blog.notify_path(3)).exists()
    notify.close()
    assert not Path(blog.open_notify_path(3)).exists()
    assert Path(plain.path).parent != folder
    endpoints.close()
    endpoints.close()
    runtime.close()
    assert list(tmp_path.iterdir()) == []


def test_connections_wait_although_nobody_accepts(paths: Paths) -> None:
    runtime = RuntimeDirectory(paths.runtime)
    endpoints = Endpoints(paths, DOOR)
    blog = endpoints.add_app(app("blog", Readiness.NOTIFY), BLOG)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for client in clients:
        client.connect(blog.path)
    for client in clients:
        client.close()
    endpoints.close()
    runtime.close()


def test_what_a_killed_supervisor_left_is_taken_over(paths: Paths, tmp_path: Path) -> None:
    folder = Path(paths.app_socket("blog")).parent
    folder.mkdir(parents=True)
    for name, kind in (
        ("socket", socket.SOCK_STREAM),
        ("notify-0", socket.SOCK_DGRAM),
        ("../blog.notify-0-0", socket.SOCK_DGRAM),
    ):
        with socket.socket(socket.AF_UNIX, kind) as left:
            left.bind(str(folder / name))
    endpoints = Endpoints(paths, DOOR)
    endpoints.add_app(app("blog", Readiness.NOTIFY), BLOG)
    assert mode(folder) == ("drwxr-x---", DOOR.gid)
    endpoints.close()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_closed_listeners_refuse_while_the_rest_goes_on(paths: Paths, tmp_path: Path) -> None:
    listener = Listener(
        "web",
        (TcpAddress("127.0.0.1", 0), UnixAddress(str(tmp_path / "web.sock"))),
        ServerNameRoute(),
    )
    runtime = RuntimeDirectory(paths.runtime)
    endpoints = Endpoints(paths, DOOR)
    endpoints.bind_listeners([listener], PassedSockets({}))
    blog = endpoints.add_app(app("blog", Readiness.ACCEPT), BLOG)
    tcp = endpoints.listeners[0].bound.address
    assert isinstance(tcp, TcpAddress)
    assert tcp.port > 0
    with socket.create_connection((tcp.host, tcp.port), 5):
        pass
    endpoints.close_listeners()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((tcp.host, tcp.port), 5)
    assert not (tmp_path / "web.sock").exists()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(blog.path)
    endpoints.close()
    runtime.close()


def test_one_address_that_is_taken_frees_the_others(paths: Paths) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = TcpAddress("127.0.0.1", 0)
        listener = Listener("web", (free, TcpAddress("127.0.0.1", port)), ServerNameRoute())
        endpoints = Endpoints(paths, DOOR)
        with pytest.raises(CloisterError):
            endpoints.bind_listeners([listener], PassedSockets({}))
        bound = endpoints.listeners[0].bound.address
        assert isinstance(bound, TcpAddress)
        endpoints.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((bound.host, bound.port), 5)
