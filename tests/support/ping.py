"""Services of the host that say what they were told."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

DIAL = """
import socket
def dial(place):
    try:
        if isinstance(place, str):
            line = socket.socket(socket.AF_UNIX)
            line.connect(place)
        else:
            line = socket.create_connection(tuple(place), timeout=10)
        with line:
            line.settimeout(20)
            line.sendall(b"ping")
            line.shutdown(socket.SHUT_WR)
            said = b""
            while part := line.recv(100):
                said += part
            return said.decode()
    except socket.gaierror:
        return "no such name"
    except OSError as error:
        return error.errno or type(error).__name__
"""
"""For a program in a cell: what is said at a path, or at a host and port; or why nothing is."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"pong to " + self.rfile.read())


@contextlib.contextmanager
def backend() -> Iterator[int]:
    """A service of the host's loopback interface; its port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


@contextlib.contextmanager
def unix_backend(path: Path) -> Iterator[None]:
    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(str(path), _Handler) as server:
        path.chmod(0o666)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def host_address() -> str | None:
    """An address of the host that is none of its loopback interface's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        try:
            line.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        return str(line.getsockname()[0])
