"""Servers that people run, behind a door that hands them their connections: real TLS, real
clients, and the clients' own addresses."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.certificates import Authority, KeyPair
from tests.support.door import Door
from tests.support.peers import HostsDirectory, wait_for_socket
from tests.support.streams import Stream

NAME = "one.example"
FOLDER = Path(__file__).parents[2] / "support" / "handoff_servers"
LENGTH = 5_000_000


class Server:
    """One server program with a handoff socket and nothing else."""

    def __init__(self, kind: str, pair: KeyPair, authority: Path, path: Path) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                FOLDER / f"{kind}_server.py",
                path,
                pair.certificate,
                pair.key,
                authority,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        wait_for_socket(path)

    def close(self) -> str:
        self.process.terminate()
        output, _ = self.process.communicate(timeout=20)
        return output.decode()


Serve = Callable[[str], Door]


@pytest.fixture
def serve(
    start_door: StartDoor,
    hosts: HostsDirectory,
    authority: Authority,
) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(kind: str) -> Door:
        path = hosts.folder(NAME) / "handoff-socket"
        servers.append(Server(kind, authority.server(NAME), authority.certificate, path))
        return start_door()

    yield start
    for server in servers:
        output = server.close()
        assert "Traceback" not in output, output


def curl(door: Door, authority: Authority, path: str, *options: str) -> bytes:
    host, port = door.listening.getsockname()
    return subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--max-time", "30"),
            *("--cacert", authority.certificate, "--resolve", f"{NAME}:{port}:{host}"),
            *(*options, f"https://{NAME}:{port}{path}"),
        ],
        check=True,
        capture_output=True,
    ).stdout


def connect(
    door: Door,
    authority: Authority,
    *,
    protocols: tuple[str, ...] = ("http/1.1",),
    pair: KeyPair | None = None,
    session: ssl.SSLSession | None = None,
    context: ssl.SSLContext | None = None,
) -> ssl.SSLSocket:
    if context is None:
        context = ssl.create_default_context(cafile=authority.certificate)
        context.set_alpn_protocols(list(protocols))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
    plain = socket.create_connection(door.listening.getsockname(), timeout=20)
    return context.wrap_socket(plain, server_hostname=NAME, session=session)


def request(connection: ssl.SSLSocket, path: str) -> Any:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1 << 16)
    head, _, body = received.partition(b"\r\n\r\n")
    (line,) = [line for line in head.lower().splitlines() if line.startswith(b"content-length")]
    while len(body) < int(line.split()[1]):
        body += connection.recv(1 << 16)
    return json.loads(body)


ALL = ["uvicorn", "hypercorn", "blocking"]


@pytest.mark.parametrize("kind", ALL)
def test_the_application_sees_its_client(kind: str, serve: Serve, authority: Authority) -> None:
    door = serve(kind)
    with connect(door, authority) as connection:
        own = list(connection.getsockname())
        for _ in range(3):  # the connection is kept
            assert request(connection, "/")["client"] == own


@pytest.mark.parametrize("kind", ALL)
def test_large_bodies_both_ways(
    kind: str,
    serve: Serve,
    authority: Authority,
    tmp_path: Path,
) -> None:
    door = serve(kind)
    assert curl(door, authority, f"/stream/7/{LENGTH}") == Stream(7).read(LENGTH)
    body = tmp_path / "body"
    body.write_bytes(Stream(9).read(LENGTH))
    answer = curl(door, authority, "/digest", "--data-binary", f"@{body}")
    assert answer.decode() == Stream(9).digest(LENGTH)


def test_http_2_is_agreed_on(serve: Serve, authority: Authority) -> None:
    door = serve("hypercorn")
    with connect(door, authority, protocols=("h2", "http/1.1")) as connection:
        assert connection.selected_alpn_protocol() == "h2"
    written = curl(door, authority, "/", "--http2", "--write-out", "\n%{http_version}")
    body, _, version = written.decode().rpartition("\n")
    assert version in {"2", "1.1"}, "1.1 where this curl knows no HTTP/2"
    assert json.loads(body)["version"] == version
    assert curl(door, authority, f"/stream/3/{LENGTH}", "--http2") == Stream(3).read(LENGTH)


def test_a_client_shows_its_certificate(serve: Serve, authority: Authority) -> None:
    door = serve("blocking")
    with connect(door, authority, pair=authority.client("alice")) as connection:
        assert request(connection, "/")["subject"] == "alice"
    with connect(door, authority) as connection:
        assert request(connection, "/")["subject"] is None


def test_a_session_is_resumed(serve: Serve, authority: Authority) -> None:
    door = serve("uvicorn")
    context = ssl.create_default_context(cafile=authority.certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(door, authority, context=context) as first:
        request(first, "/")
        session = first.session
        assert not first.session_reused
    with connect(door, authority, context=context, session=session) as second:
        request(second, "/")
        assert second.session_reused


def test_openssl_gets_through(serve: Serve, authority: Authority) -> None:
    door = serve("uvicorn")
    host, port = door.listening.getsockname()
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"{host}:{port}", "-servername", NAME),
            *("-CAfile", authority.certificate, "-verify_return_error", "-quiet", "-ign_eof"),
        ],
        input=f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.startswith(b"HTTP/1.1 200"), done.stderr
