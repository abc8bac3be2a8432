"""Runs ``cloister-door relay``, and systemd-socket-proxyd where it can be compared with."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.support.door import program
from tests.support.peers import Peer
from tests.support.waiting import wait_until

SOCKET_PROXYD = Path("/lib/systemd/systemd-socket-proxyd")

LOOPBACK_CID = 1
"""This machine itself, by the kernel module vsock_loopback (VMADDR_CID_LOCAL of vsock(7))."""

_PASS = """
given=$1 beyond=$2; shift 2
place=0
for descriptor in $given; do
    eval "exec $((beyond + place))<&$descriptor"
    place=$((place + 1))
done
export LISTEN_FDS=$place
while [ "$place" -gt 0 ]; do
    place=$((place - 1))
    eval "exec $((3 + place))<&$((beyond + place)) $((beyond + place))<&-"
done
LISTEN_PID=$$ exec "$@"
"""
"""Moves the descriptors of the first argument to 3 and upwards (sd_listen_fds(3)); by way of
numbers from the second argument on, beyond all of them and all of their places, since one may
lie where another one has to go."""


class Relay:
    """One running relay on listening sockets that stay the caller's."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        arguments: Sequence[str],
        *,
        command: Sequence[str] | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``command`` is what the arguments follow, else ``cloister-door relay`` with a log;
        ``prefix`` goes before, such as that of a namespace."""
        self.listening = tuple(listening)
        self.records: list[Mapping[str, Any]] = []
        self.messages = ""
        self._clients: list[Peer] = []
        if command is None:
            command = [program(), "relay", "--log-connections"]
        descriptors = [one.fileno() for one in listening]
        beyond = max([*descriptors, 3 + len(descriptors)]) + 1
        given = " ".join(map(str, descriptors))
        shell = ["bash", "-c", _PASS, "bash", given, str(beyond)]
        self.process = subprocess.Popen(
            [*prefix, *shell, *command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_records, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_messages, args=(self.process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, place: int = 0) -> Peer:
        """A new connection to one of its listeners, closed with the relay at the latest."""
        self._clients.append(connect(self.listening[place]))
        return self._clients[-1]

    def wait_for_record(self, place: int = 0, *, seconds: float = 10.0) -> Mapping[str, Any]:
        """The record of the connection that ended as number ``place``, from 0."""
        wait_until(lambda: len(self.records) > place, seconds=seconds, what="a record")
        return self.records[place]

    def wait(self, *, seconds: float = 10.0) -> int:
        """Its exit status, after all that it wrote has been read; negative for a signal."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return status

    def kill(self) -> None:
        """Ends it at once, if it still runs."""
        self.process.kill()
        self.wait()
        for client in self._clients:
            client.close()

    def _read_records(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                if line.startswith(b"{"):
                    self.records.append(json.loads(line))

    def _read_messages(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.messages += line.decode()


class Target:
    """A listening socket of any family, taken by hand. Owns it and what it accepts."""

    def __init__(self, listening: socket.socket) -> None:
        self.socket = listening
        self.socket.settimeout(10)
        self._accepted: list[Peer] = []

    @property
    def text(self) -> str:
        """Its address as a target on a command line."""
        return address_text(self.socket)

    def accept(self) -> Peer:
        """The next connection."""
        connection, _ = self.socket.accept()
        self._accepted.append(Peer(connection))
        return self._accepted[-1]

    def is_contacted(self, *, seconds: float = 0.2) -> bool:
        """Whether a connection comes within the time; it is closed."""
        self.socket.settimeout(seconds)
        try:
            connection, _ = self.socket.accept()
        except (BlockingIOError, TimeoutError):
            return False
        finally:
            self.socket.settimeout(10)
        connection.close()
        return True

    def close(self) -> None:
        self.socket.close()
        for peer in self._accepted:
            peer.close()


def address_text(listening: socket.socket) -> str:
    """``HOST:PORT``, a path or ``@NAME``, as systemd-socket-proxyd takes them, or
    ``vsock:CID:PORT``."""
    name = listening.getsockname()
    if isinstance(name, bytes):
        return "@" + name[1:].decode()
    if isinstance(name, str):
        return name
    if listening.family == socket.AF_VSOCK:
        return f"vsock:{LOOPBACK_CID}:{name[1]}"
    return f"{name[0]}:{name[1]}"


def reachable(listening: socket.socket) -> Any:
    """The address at which this machine itself reaches a listening socket."""
    name = listening.getsockname()
    return (LOOPBACK_CID, name[1]) if listening.family == socket.AF_VSOCK else name


def listen(kind: str, folder: Path, *, name: str = "socket", backlog: int = 128) -> socket.socket:
    """A listening socket: ``tcp``, ``tcp6``, ``unix`` (in ``folder``), ``abstract`` or
    ``vsock``."""
    match kind:
        case "tcp":
            listening = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        case "tcp6":
            listening = socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=backlog)
        case "unix":
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(folder / name))
            (folder / name).chmod(0o666)
            listening.listen(backlog)
        case "abstract":
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # The kernel chooses a name that is free (unix(7), autobind).
            listening.bind("")
            listening.listen(backlog)
        case "vsock":
            listening = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            listening.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
            listening.listen(backlog)
        case other:
            raise ValueError(other)
    return listening


def connect(listening: socket.socket) -> Peer:
    """A connection to a listening socket of this process."""
    connection = socket.socket(listening.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(10)
        connection.connect(reachable(listening))
    except BaseException:
        connection.close()
        raise
    return Peer(connection)
