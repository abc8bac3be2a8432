"""The accept queue's length, from real sockets."""

import socket
from pathlib import Path

import pytest

from cloister.sockets.queue import pending


def test_connections_that_wait_are_counted(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen(8)
        clients = []
        for count in range(4):
            assert pending(listening) == count
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(tmp_path / "s"))
            clients.append(client)
        accepted, _ = listening.accept()
        assert pending(listening) == 3
        accepted.close()
        # A client that has gone waits all the same: accept(2) will hand it over.
        for client in clients:
            client.close()
        assert pending(listening) == 3


def test_a_socket_of_another_family_is_an_error() -> None:
    with socket.socket(socket.AF_INET) as listening:
        listening.listen()
        with pytest.raises(OSError, match="No such file"):
            pending(listening)
