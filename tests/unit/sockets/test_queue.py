"""The accept queue's length, from real sockets."""

import os
import socket
from pathlib import Path

import pytest

from cloister.sockets.queue import accepted, bound_file, peer, pending


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


def test_who_has_accepted_a_connection(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "s"))
        listening.listen(8)
        client.connect(str(tmp_path / "s"))
        assert peer(client) == 0
        server, _ = listening.accept()
        assert peer(client) == os.fstat(server.fileno()).st_ino
        server.close()
        assert peer(client) == 0


def test_accepted_connections_are_told_apart_by_their_listener(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for number, listening in enumerate((one, two)):
            listening.bind(str(tmp_path / f"s{number}"))
            listening.listen(8)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in clients:
            client.connect(str(tmp_path / "s0"))
        servers = [one.accept()[0] for _ in range(2)]
        found = accepted()
        # The third one waits, and counts for nothing yet.
        assert found[bound_file(one)] == {os.fstat(server.fileno()).st_ino for server in servers}
        assert bound_file(two) not in found
        for end in (*clients, *servers):
            end.close()


def test_a_socket_without_a_path_has_no_file() -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0cloister-test-no-path")
        listening.listen()
        with pytest.raises(OSError, match="no path"):
            bound_file(listening)
