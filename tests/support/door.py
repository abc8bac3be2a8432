"""Runs one ``cloister-door sni`` as its users do, and reads what it says."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from tests.support.peers import Peer
from tests.support.processes import children
from tests.support.waiting import wait_until

Passing = Literal["stdin", "listen-fds"]
Record = Mapping[str, Any]
"""One line of the connection log, as ``cloister_proto::messages::door::ConnectionRecord``."""

UNPRIVILEGED = 65534
"""The user and group that the door becomes where the tests run as root: nobody's."""


def program() -> str:
    """``cloister-door`` beside the Python that runs the tests."""
    path = Path(sys.executable).with_name("cloister-door")
    assert path.exists(), f"{path} is missing; run: make install"
    return str(path)


def listen_tcp(host: str = "127.0.0.1", *, backlog: int = 4096) -> socket.socket:
    """A listening TCP socket on a free port of the loopback interface."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    # As every server does: connections that go on must not keep the address from the next.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, 0))
    listening.listen(backlog)
    return listening


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """What can be said on the command line; ``None`` leaves the program's default."""

    hello_timeout: float | None = None
    """Seconds from accepting to the end of the hello."""
    connect_timeout: float | None = None
    """Seconds from the hello to a connected target."""
    drain: float | None = None
    """Seconds that open connections have after SIGHUP or SIGTERM."""
    connections: int | None = None
    """Connections at once."""
    connections_per_client: int | None = None
    connections_per_host: int | None = None
    idle_timeout: float | None = None
    """Seconds without a byte."""
    accept_proxy: Sequence[str] = ()
    """Whose connections begin with a PROXY header."""
    workers: int | None = None
    hashed: bool = False
    """Whether the folders are called by hashes."""
    chroot: bool = False
    """Whether the hosts directory is its whole file system."""
    descriptors: int | None = None
    """How many it may have open (RLIMIT_NOFILE), both as soft and as hard limit."""
    address_space: int | None = None
    """Bytes of memory that it may map (RLIMIT_AS)."""

    def arguments(self) -> list[str]:
        given = {
            "--hello-timeout": self.hello_timeout,
            "--connect-timeout": self.connect_timeout,
            "--drain": self.drain,
            "--connections": self.connections,
            "--connections-per-client": self.connections_per_client,
            "--connections-per-host": self.connections_per_host,
            "--idle-timeout": self.idle_timeout,
            "--workers": self.workers,
            "--chroot": "." if self.chroot else None,
        }
        pairs = [(option, str(value)) for option, value in given.items() if value is not None]
        pairs += [("--accept-proxy", peer) for peer in self.accept_proxy]
        return ["--hashed"] * self.hashed + [text for pair in pairs for text in pair]


class Door:
    """One running door on a listening socket that stays the caller's.

    It owns the connections that :meth:`connect` makes.
    """

    def __init__(
        self,
        listening: socket.socket,
        directory: Path,
        *,
        passing: Passing = "stdin",
        options: DoorOptions | None = None,
        environment: Mapping[str, str] | None = None,
        keeper: Path | None = None,
    ) -> None:
        """``environment`` is added to that of the tests; ``keeper`` is the program that keeps
        the door, and then is what is signalled and awaited."""
        self.listening = listening
        self.records: list[Record] = []
        self._clients: list[Peer] = []
        self.messages = ""
        """What it wrote for people, all of it."""
        options = options or DoorOptions()
        start = [program(), "sni"] if keeper is None else [str(keeper), "keep", "sni"]
        command = [*start, "--log-connections", *options.arguments()]
        if os.geteuid() == 0:
            command += ["--user", f"{UNPRIVILEGED}:{UNPRIVILEGED}"]
        limits = {"nofile": options.descriptors, "as": options.address_space}
        for name, limit in limits.items():
            if limit is not None:
                # prlimit(1) becomes the door: its process id stays.
                command = ["prlimit", f"--{name}={limit}:{limit}", *command]
        self.process = _start(command, listening, directory, passing, environment or {})
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

    def wait_until_serving(self) -> None:
        """Returns when it has answered a connection; that one's record is taken away."""
        with self.connect() as probe:
            probe.send(b"?")
            assert probe.receive_rest()[:1] == b"\x15", "no alert for a byte that is no TLS"
        self.wait_for_record()
        self.records.clear()

    def connect(self) -> Peer:
        """A new connection to its listener."""
        self._clients.append(Peer(connect(self.listening)))
        return self._clients[-1]

    def expect_refused_at_once(self) -> None:
        """A new connection is ended, in whichever way, without a byte; connect(2) itself may
        fail with the reset."""
        with contextlib.suppress(ConnectionResetError), self.connect() as client:
            assert client.receive_rest_unless_reset() == b""

    def wait_for_record(
        self, accept: Callable[[Record], bool] = lambda record: True, *, seconds: float = 10.0
    ) -> Record:
        """The first record that ``accept`` takes."""

        def find() -> Record | None:
            return next(filter(accept, tuple(self.records)), None)

        found = wait_until(find, seconds=seconds, what=f"a record of {len(self.records)}")
        assert found is not None
        return found

    def wait_for_records(self, count: int, *, seconds: float = 10.0) -> Sequence[Record]:
        """All records, as soon as there are ``count``; more are an error."""
        wait_until(
            lambda: len(self.records) >= count,
            seconds=seconds,
            what=f"{count} connection records",
        )
        assert len(self.records) == count
        return tuple(self.records)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, *, seconds: float = 10.0) -> int:
        """Its exit status, after all that it wrote has been read; negative for a signal."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
            assert not reader.is_alive(), "somebody else holds the door's output open"
        return status

    def kill(self) -> None:
        """Ends it at once, if it still runs, and closes all connections to it."""
        kept = children(self.pid) if self.process.poll() is None else set()
        self.process.kill()
        for process in kept:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.wait()
        for client in self._clients:
            client.close()

    def _read_records(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                # A door that is killed or aborts may leave a part of its last line.
                if line.endswith(b"\n"):
                    self.records.append(json.loads(line))

    def _read_messages(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.messages += line.decode()


def connect(listening: socket.socket, *, receive_buffer: int | None = None) -> socket.socket:
    """A connection to a listening TCP or Unix socket of this process; ``receive_buffer``: the
    bytes that its kernel takes, about, before somebody reads."""
    connection = socket.socket(listening.family, socket.SOCK_STREAM)
    try:
        if receive_buffer is not None:
            # Before connect(2): the window is agreed there.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(10)
        connection.connect(listening.getsockname())
    except BaseException:
        connection.close()
        raise
    return connection


def client_text(address: tuple[str, int]) -> str:
    """A client's address as the connection log writes it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _start(
    command: Sequence[str],
    listening: socket.socket,
    directory: Path,
    passing: Passing,
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    if passing == "stdin":
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=listening.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
    # sd_listen_fds(3): descriptors from 3 upwards, and the number of the very process, which
    # a shell knows before it becomes the door.
    descriptor = listening.fileno()
    script = f'exec 3<&{descriptor} {descriptor}<&-; LISTEN_PID=$$ exec "$@"'
    if descriptor == 3:
        script = 'LISTEN_PID=$$ exec "$@"'
    return subprocess.Popen(
        ["bash", "-c", script, "bash", *command],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "https"},
        pass_fds=(descriptor,),
    )
