"""A place for everything that a starter runs, and an application behind it."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloister.cli.main import main


@dataclass(frozen=True, slots=True)
class Echo:
    """An application that sends back what comes."""

    target: str
    """For ``cloister-door relay``."""


@pytest.fixture
def echo() -> Iterator[Echo]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        thread = threading.Thread(target=_serve, args=(listening,), daemon=True)
        thread.start()
        yield Echo(f"127.0.0.1:{listening.getsockname()[1]}")
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _serve(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


@pytest.fixture
def place(tmp_path: Path, as_root: None) -> Path:
    """A folder that other users can enter, with ``cloister-door`` in it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    source = Path(sys.executable).with_name("cloister-door")
    program = tmp_path / "cloister-door"
    program.write_bytes(source.read_bytes())
    program.chmod(0o755)
    return tmp_path


def generate(place: Path, *arguments: str) -> None:
    """Runs ``cloister generate`` with this place's program, and writes below it."""
    where = ["--program", str(place / "cloister-door"), "--output", str(place)]
    assert main(["generate", *arguments, *where]) == 0


def ask(path: Path | tuple[str, int], data: bytes = b"hello") -> bytes:
    """What comes back for ``data`` on a new connection."""
    family = socket.AF_INET if isinstance(path, tuple) else socket.AF_UNIX
    with socket.socket(family) as connection:
        connection.settimeout(10)
        connection.connect(path if isinstance(path, tuple) else str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received
