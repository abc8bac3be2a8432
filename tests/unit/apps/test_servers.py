"""The server inside a cell: here without a cell, as a process of its own."""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloister.apps.authority import Authority
from cloister.apps.servers import ServeError, interface_of, load, passed_socket
from cloister.apps.serving import share

Environ = dict[str, Any]


async def asgi3(scope: Any, receive: Any, send: Any) -> None: ...


def asgi3_plain(scope: Any, receive: Any, send: Any) -> Any: ...


def asgi2(scope: Any) -> Any: ...


def wsgi(environ: Environ, start_response: Any) -> list[bytes]: ...


class Asgi3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Asgi3Anything:
    async def __call__(self, *arguments: Any) -> None: ...


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class Wsgi:
    def __call__(self, environ: Environ, start_response: Any) -> list[bytes]: ...


class WsgiOfTheSpecification:
    def __init__(self, environ: Environ, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]: ...


def decorated(*arguments: Any, **options: Any) -> Any: ...


@pytest.mark.parametrize(
    ("application", "interface"),
    [
        (asgi3, "asgi3"),
        (asgi3_plain, "asgi3"),
        (Asgi3(), "asgi3"),
        (Asgi3Anything(), "asgi3"),
        (partial(asgi3), "asgi3"),
        (asgi2, "asgi2"),
        (Asgi2, "asgi2"),
        (wsgi, "wsgi"),
        (Wsgi(), "wsgi"),
        (Wsgi().__call__, "wsgi"),
        (WsgiOfTheSpecification, "wsgi"),
        (partial(wsgi), "wsgi"),
        (decorated, "wsgi"),
    ],
)
def test_the_interface_of_a_callable(application: Callable[..., Any], interface: str) -> None:
    assert interface_of(application) == interface


@pytest.mark.parametrize("application", [lambda: None, lambda a, b, c, d: None])
def test_a_callable_of_no_interface(application: Callable[..., Any]) -> None:
    with pytest.raises(ServeError, match="neither"):
        interface_of(application)


def test_what_the_configuration_says_counts() -> None:
    assert interface_of(decorated, "asgi") == "asgi3"
    assert interface_of(asgi2, "asgi") == "asgi2"
    assert interface_of(asgi3_plain, "wsgi") == "wsgi"
    with pytest.raises(ServeError, match="no ASGI"):
        interface_of(wsgi, "asgi")


@pytest.mark.parametrize("name", ["module", "module:", ":app", ""])
def test_a_name_of_another_form(name: str) -> None:
    with pytest.raises(ServeError, match="not of the form MODULE:CALLABLE"):
        load(name)


def test_a_dotted_path_inside_a_module() -> None:
    assert load("os:path.join") is os.path.join


def test_a_module_without_that_name() -> None:
    with pytest.raises(ServeError, match=r"the module 'os' has no 'nothing\.at\.all'"):
        load("os:nothing.at.all")


def test_a_value_that_cannot_be_called() -> None:
    with pytest.raises(ServeError, match="os:name is a str"):
        load("os:name")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "LISTEN_PID or LISTEN_FDS is not set"),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, "is for process 1"),
        ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}, "one passed socket"),
    ],
)
def test_no_socket_was_passed(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ServeError, match=reason):
        passed_socket(environment)
    assert environment == {}


ASGI = """
import asyncio, os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan ended", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        print("slow began", flush=True)
        await asyncio.sleep(0.5)
    body = f"{scope['scheme']} {os.environ.get('LISTEN_FDS')}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"wsgi ", environ["wsgi.url_scheme"].encode()]
"""

# What cloister-cell does just before the exec: descriptor 3, and the process's own number.
EXEC = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.executable, [sys.executable, "-m", "cloister.apps.servers", *sys.argv[2:]])
"""


class Served:
    """An application that was started with its socket and its notification socket."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.path = str(folder / "socket")
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen(16)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.settimeout(30)
        descriptor = self.listening.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", EXEC, str(descriptor), *arguments],
            cwd=folder,
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), **environment},
            pass_fds=[descriptor],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.listening.close()
        self.notify.close()

    def told(self) -> bytes:
        """What it says next of how it stands; how much it has to do is passed over."""
        while (message := self.notify.recv(100)).startswith(b"X_CLOISTER_"):
            pass
        return message

    def load(self) -> bytes:
        """What it says next of how much it has to do."""
        while not (message := self.notify.recv(100)).startswith(b"X_CLOISTER_"):
            pass
        return message

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(self.path)
        return connection

    def get(self, path: str = "/", connection: socket.socket | None = None) -> bytes:
        client = http.client.HTTPConnection("app")
        client.sock = connection or self.connect()
        with contextlib.closing(client):
            client.request("GET", path)
            return client.getresponse().read()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:

        def start(code: str, *arguments: str, **environment: str) -> Served:
            (tmp_path / "web.py").write_text(code)
            served = Served(tmp_path, "web:app", *arguments, **environment)
            stack.callback(served.close)
            return served

        yield start


@pytest.mark.parametrize(("code", "answer"), [(ASGI, b"http None"), (WSGI, b"wsgi http")])
def test_both_kinds_are_served(serve: Callable[..., Served], code: str, answer: bytes) -> None:
    served = serve(code)
    assert served.told() == b"READY=1"
    assert served.get() == answer


def test_a_factory_makes_the_application(serve: Callable[..., Served]) -> None:
    served = serve(
        "def made(environ, start):\n    start('200 OK', [])\n    return [b'made']\n"
        "def app():\n    return made\n",
        "--factory",
    )
    assert served.told() == b"READY=1"
    assert served.get() == b"made"


def test_a_factory_that_makes_nothing(serve: Callable[..., Served]) -> None:
    served = serve("def app():\n    return None\n", "--factory")
    output, _ = served.process.communicate(timeout=30)
    assert output == "the factory web:app returned a NoneType, which cannot be called\n"


def test_modules_are_looked_for_in_its_folders_first(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "web.py").write_text(WSGI.replace("wsgi ", f"{folder} "))
    served = serve(WSGI, "--path", str(tmp_path / "first"), "--path", str(tmp_path / "second"))
    assert served.told() == b"READY=1"
    assert served.get() == b"first http"


@pytest.mark.parametrize(("threads", "together"), [(1, 1), (3, 3)])
def test_a_wsgi_application_answers_as_many_requests_at_once_as_it_has_threads(
    serve: Callable[..., Served], threads: int, together: int
) -> None:
    """Each request waits for as many others as there are threads, and no longer than it takes
    to see that no more come."""
    code = f"""
import threading
inside, most, lock = 0, 0, threading.Lock()
full = threading.Event()
def app(environ, start_response):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
        if inside == {together}:
            full.set()
    full.wait(20)
    with lock:
        inside -= 1
    start_response("200 OK", [("content-length", "1")])
    return [str(most).encode()]
"""
    served = serve(code, "--threads", str(threads))
    assert served.told() == b"READY=1"
    connections = [served.connect() for _ in range(4)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answers = []
    for connection in connections:
        with contextlib.closing(connection), connection.makefile("rb") as stream:
            answers.append(int(stream.read().rpartition(b"\r\n")[2]))
    assert max(answers) == together


def test_sigterm_lets_a_request_end_and_the_lifespan_too(serve: Callable[..., Served]) -> None:
    served = serve(ASGI)
    assert served.told() == b"READY=1"
    connection = served.connect()
    connection.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert served.process.stdout is not None
    assert served.process.stdout.readline() == "slow began\n"
    served.process.send_signal(signal.SIGTERM)
    assert served.told() == b"STOPPING=1"
    with contextlib.closing(connection), connection.makefile("rb") as stream:
        assert b"http None" in stream.read()
    assert served.process.stdout.read() == "lifespan ended\n"
    assert served.process.wait(10) == -signal.SIGTERM


def test_tls_from_the_credentials(serve: Callable[..., Served], tmp_path: Path) -> None:
    authority = Authority.open(str(tmp_path / "authority"), ["one.example"])
    leaf = authority.issue(["one.example"])
    (tmp_path / "tls.crt").write_text(leaf.certificate)
    (tmp_path / "tls.key").write_text(leaf.key)
    served = serve(ASGI, "--tls", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert served.told() == b"READY=1"
    context = ssl.create_default_context(cafile=authority.path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = context.wrap_socket(served.connect(), server_hostname="one.example")
    assert connection.selected_alpn_protocol() == "http/1.1"
    assert served.get(connection=connection) == b"https None"


def test_a_module_that_fails_prints_its_own_traceback_once(serve: Callable[..., Served]) -> None:
    served = serve("import nothing_of_that_name\n")
    output, _ = served.process.communicate(timeout=30)
    assert served.process.returncode == 1
    assert output.count("Traceback") == 1
    assert "ModuleNotFoundError: No module named 'nothing_of_that_name'" in output
    assert re.findall(r'File "([^"]+)"', output) == [str(Path(served.path).parent / "web.py")]


def test_a_missing_certificate_is_told(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(ASGI, "--tls", CREDENTIALS_DIRECTORY=str(tmp_path))
    output, _ = served.process.communicate(timeout=30)
    assert served.process.returncode == 1
    assert output.startswith("the certificate cannot be used (tls.crt and tls.key in")
    assert output.count("\n") == 1


def test_it_loads_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys, cloister.apps.servers;"
        "print([m for m in ('uvicorn', 'a2wsgi', 'pydantic', 'starlette', 'cryptography')"
        " if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_it_tells_how_much_it_has_to_do(serve: Callable[..., Served]) -> None:
    served = serve(ASGI)
    assert served.told() == b"READY=1"
    with served.connect() as connection:
        assert served.load() == b"X_CLOISTER_REQUESTS=0\nX_CLOISTER_CONNECTIONS=1"
        connection.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        assert served.load() == b"X_CLOISTER_REQUESTS=1\nX_CLOISTER_CONNECTIONS=1"
    while served.load() != b"X_CLOISTER_REQUESTS=0\nX_CLOISTER_CONNECTIONS=0":
        pass


def test_it_asks_to_be_relieved_once_it_has_answered_enough_and_serves_on(
    serve: Callable[..., Served],
) -> None:
    served = serve(ASGI, "--after-requests", "3")
    assert served.told() == b"READY=1"
    for _ in range(3):
        assert served.get() == b"http None"
    while served.load() != b"X_CLOISTER_RELIEF=1":
        pass
    assert served.get() == b"http None"
    # Nobody relieves it: it says so again, and not at once.
    begin = time.monotonic()
    while served.load() != b"X_CLOISTER_RELIEF=1":
        pass
    assert time.monotonic() - begin > 4
    served.process.send_signal(signal.SIGTERM)
    assert served.told() == b"STOPPING=1"


def test_each_process_draws_a_number_of_its_own_that_is_no_larger() -> None:
    drawn = {share(1000) for _ in range(1000)}
    assert min(drawn) >= 900
    assert max(drawn) <= 1000
    assert len(drawn) > 50
    assert share(9) == 9
    assert share(None) is None


REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def answer_to(connection: socket.socket) -> bytes:
    """All that comes up to the end of the connection."""
    received = b""
    while chunk := connection.recv(4096):
        received += chunk
    return received


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
def test_a_request_that_is_on_its_way_when_it_stops_is_answered(
    serve: Callable[..., Served], kept: bool
) -> None:
    """Its client cannot know: it has sent the request before anything told it."""
    served = serve(ASGI)
    assert served.told() == b"READY=1"
    with served.connect() as connection:
        if kept:
            connection.sendall(REQUEST)
            while not connection.recv(4096).endswith(b"0\r\n\r\n"):
                pass
        assert served.load().endswith(b"X_CLOISTER_CONNECTIONS=1")
        served.process.send_signal(signal.SIGTERM)
        assert served.told() == b"STOPPING=1"
        connection.sendall(REQUEST)
        answer = answer_to(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"http None\r\n0\r\n\r\n")
    served.process.wait(30)


def test_connections_that_bring_nothing_hold_up_no_stop(serve: Callable[..., Served]) -> None:
    served = serve(ASGI)
    assert served.told() == b"READY=1"
    with served.connect() as connection:
        assert served.load().endswith(b"X_CLOISTER_CONNECTIONS=1")
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(30)
        assert answer_to(connection) == b""


def test_who_was_not_taken_waits_for_the_next_process(serve: Callable[..., Served]) -> None:
    served = serve(ASGI)
    assert served.told() == b"READY=1"
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(30)
    with served.connect() as connection:
        connection.sendall(REQUEST)
        taken, _ = served.listening.accept()
        assert taken.recv(100) == REQUEST
        taken.close()
