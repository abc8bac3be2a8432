"""Services of the host that say what they were told."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path


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
