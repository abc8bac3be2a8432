"""Who listens, by the kernel's word."""

import os
import socket
from pathlib import Path

from cloister.hosts.listening import FileId, file_id, listening_files


def identity(path: Path) -> FileId:
    found = path.stat()
    return file_id(found.st_ino, os.major(found.st_dev), os.minor(found.st_dev))


def test_only_sockets_that_listen(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert identity(path) not in listening_files()
        bound.listen()
        assert identity(path) in listening_files()
    assert identity(path) not in listening_files()


def test_many_sockets_take_several_packets(tmp_path: Path) -> None:
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(600)]
    try:
        for number, bound in enumerate(sockets):
            bound.bind(str(tmp_path / str(number)))
            bound.listen()
        found = listening_files()
        assert all(identity(tmp_path / str(number)) in found for number in range(len(sockets)))
    finally:
        for bound in sockets:
            bound.close()
