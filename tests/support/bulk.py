"""Bulk transfers by processes of their own, so that the load does not wait for the tests.

    python -m tests.support.bulk serve         the listening socket on standard input
    python -m tests.support.bulk download PORT NAME COUNT LENGTH
    python -m tests.support.bulk upload PORT NAME COUNT LENGTH

A client opens COUNT connections at once, each with a stream of its own, and prints one JSON
list: for each connection whether the hash that one side sent is that of what the other
side received. Hashing and copying release the interpreter's lock, so threads suffice.
"""

import contextlib
import hashlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.support.hello import Hello
from tests.support.peers import UnixListener
from tests.support.streams import DIGEST, Stream

BUFFER = 256 * 1024
DIGEST_LENGTH = 2 * hashlib.new(DIGEST).digest_size
REQUEST_LENGTH = 64
"""Bytes of ``DIRECTION KEY LENGTH``, filled up with blanks, behind the hello."""
PATIENCE = 60
"""Seconds without any progress on one connection."""


def send_stream(connection: socket.socket, key: int, length: int) -> str:
    """Sends a stream and says its hash."""
    state = hashlib.new(DIGEST)
    for chunk in Stream(key).chunks(length):
        connection.sendall(chunk)
        state.update(chunk)
    return state.hexdigest()


def receive_stream(connection: socket.socket, length: int) -> str:
    """Receives so many bytes and says their hash."""
    state, buffer = hashlib.new(DIGEST), memoryview(bytearray(BUFFER))
    remaining = length
    while remaining:
        count = connection.recv_into(buffer[: min(BUFFER, remaining)])
        if not count:
            return f"the end came {remaining} bytes early"
        state.update(buffer[:count])
        remaining -= count
    return state.hexdigest()


def receive(connection: socket.socket, length: int) -> bytes:
    """Exactly so many bytes, or fewer at the end."""
    received = b""
    while len(received) < length:
        chunk = connection.recv(length - len(received))
        if not chunk:
            break
        received += chunk
    return received


def serve_one(connection: socket.socket) -> None:
    """The target's side of one transfer."""
    with connection:
        connection.settimeout(PATIENCE)
        header = receive(connection, 5)
        receive(connection, int.from_bytes(header[3:5], "big"))
        direction, key, length = receive(connection, REQUEST_LENGTH).split()
        if direction == b"download":
            digest = send_stream(connection, int(key), int(length))
        else:
            digest = receive_stream(connection, int(length))
        connection.sendall(digest.encode())


def serve(listening: socket.socket) -> None:
    """Serves until the process is ended."""
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=serve_one, args=(connection,), daemon=True).start()


def transfer(direction: str, port: int, name: str, key: int, length: int) -> bool:
    """The client's side of one transfer: whether both hashes are equal."""
    request = f"{direction} {key} {length}".encode().ljust(REQUEST_LENGTH)
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(Hello(name.encode()).records() + request)
        if direction == "download":
            own = receive_stream(connection, length)
        else:
            own = send_stream(connection, key, length)
            connection.shutdown(socket.SHUT_WR)
        return receive(connection, DIGEST_LENGTH + 1).decode() == own


@contextlib.contextmanager
def bulk_server(listener: UnixListener) -> Iterator[None]:
    """A process that serves on ``listener``, which stays the caller's."""
    listener.socket.setblocking(True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.bulk", "serve"], stdin=listener.socket.fileno()
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def bulk_client(
    direction: str, port: int, name: str, *, count: int, length: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with ``count`` transfers at once; :func:`results` waits for its end."""
    arguments = [direction, str(port), name, str(count), str(length)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.bulk", *arguments], stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def results(client: "subprocess.Popen[bytes]", *, seconds: float) -> list[bool]:
    """For each transfer whether it was exact."""
    output, _ = client.communicate(timeout=seconds)
    assert client.returncode == 0
    found: list[bool] = json.loads(output)
    return found


def main(arguments: list[str]) -> None:
    if arguments == ["serve"]:
        serve(socket.socket(fileno=sys.stdin.fileno()))
        return
    direction, port, name, count, length = arguments
    with ThreadPoolExecutor(int(count)) as pool:
        outcomes = pool.map(
            lambda key: transfer(direction, int(port), name, key, int(length)), range(int(count))
        )
        print(json.dumps(list(outcomes)))


if __name__ == "__main__":
    main(sys.argv[1:])
