"""``cloister up`` with an application that is handed its connections, in its cell."""

import json
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from tests.support.up import ASGI, Client, Up, open_folder
from tests.support.waiting import wait_until

TELLS = """
import json, os, socket
def dials(address):
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError as error:
        return error.errno
    return 0
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    body = scope["query_string"]
    if scope["path"] == "/":
        port = int(scope["query_string"] or 1)
        body = json.dumps({
            "client": scope["client"], "server": scope["server"], "scheme": scope["scheme"],
            "dials": dials(("127.0.0.1", port)), "interfaces": len(socket.if_nameindex()),
        }).encode()
    elif scope["path"] == "/large":
        body = bytes(range(256)) * 4096 * 8
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write({"relayed": ASGI, "given": TELLS})
        text = running.config.read_text()
        where = text.index("[apps.given]") + len("[apps.given]")
        running.config.write_text(text[:where] + '\nendpoint = "handoff"' + text[where:])
        running.start()
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


def connect(up: Up) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=up.authority)
    plain = socket.create_connection(("127.0.0.1", up.port), timeout=20)
    return context.wrap_socket(plain, server_hostname="given.example")


def ask(connection: ssl.SSLSocket, path: str) -> Any:
    """Keeps the connection."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: given.example\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1 << 16)
    head, _, body = received.partition(b"\r\n\r\n")
    (line,) = [line for line in head.lower().splitlines() if line.startswith(b"content-length")]
    while len(body) < int(line.split()[1]):
        body += connection.recv(1 << 16)
    return json.loads(body)


def test_it_sees_its_clients_address_and_no_network(up: Up) -> None:
    with connect(up) as connection:
        port = up.port
        seen = ask(connection, f"/?{port}")
        assert tuple(seen["client"]) == connection.getsockname()
        assert tuple(seen["server"]) == ("127.0.0.1", port)
        assert seen["scheme"] == "https"
        # Its clients' sockets are the host's; whatever it opens itself is its own network's.
        assert seen["dials"] != 0
        assert seen["interfaces"] == 1


def test_beside_it_another_is_relayed(up: Up) -> None:
    assert up.curl("relayed.example", "/a").startswith("asgi https /a ")


def test_a_large_answer_arrives_whole(up: Up) -> None:
    assert Client(up, "given.example").get("/large") == bytes(range(256)) * 4096 * 8


def test_the_door_counts_it_as_handed_off(up: Up) -> None:
    before = up.app("given").traffic
    assert before is not None
    with connect(up) as connection:
        ask(connection, "/")
        after = up.app("given").traffic
        assert after is not None
        assert after.accepted == before.accepted + 1
        assert after.active == 0, "it is the application's own now"
    assert up.status().door.outcomes["handed-off"] >= after.accepted


def test_its_connections_outlive_the_door(up: Up) -> None:
    with connect(up) as connection:
        ask(connection, "/")
        door = up.status().door
        assert door.pid is not None
        os.kill(door.pid, signal.SIGKILL)
        wait_until(lambda: up.status().door.pid not in {None, door.pid}, what="another door")
        assert tuple(ask(connection, "/")["client"]) == connection.getsockname()
    up.wait_ready()


def test_no_connection_is_refused_while_it_is_replaced(up: Up) -> None:
    before = up.app("given").pid
    assert before is not None
    for child in psutil.Process(before).children(recursive=True):
        child.kill()
    assert Client(up, "given.example").get("/?") is not None
    assert up.app("given").pid != before
