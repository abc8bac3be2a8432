"""What is soaked: doors under a supervisor and under keepers, their targets, and what can
befall each."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import keyed
from tests.support.door import listen_tcp, program
from tests.support.hello import Hello
from tests.support.peers import short_path
from tests.support.processes import children, descriptor_count, resident_bytes
from tests.support.service_manager import ServiceManager
from tests.support.up import Up
from tests.support.waiting import Deadline

DRAINING = 6
"""Replaced doors above which no further one is replaced: beyond eight the oldest is cut."""

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a target."""

    system: "System"
    address: tuple[str, int]
    preface: bytes
    exists: bool = True
    """Whether anything has this name."""


@dataclass(slots=True)
class Size:
    """What a process takes."""

    descriptors: int
    resident: int


@dataclass(slots=True)
class System:
    """Doors on listening sockets that outlive them."""

    name: str
    ways: list[Way] = field(default_factory=list)
    deaths: list[float] = field(default_factory=list)
    """When something of it was killed (time.monotonic())."""
    accidents: dict[str, Callable[[], None]] = field(default_factory=dict)

    def kill(self, process: int | None) -> None:
        """SIGKILL; what it carried may be cut from now on."""
        if process is not None:
            self.deaths.append(time.monotonic())
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def sizes(self) -> dict[str, Size]:
        """By the role of each process that stays."""
        raise NotImplementedError

    def settled(self) -> bool:
        """Whether no replaced door is left."""
        raise NotImplementedError

    def close(self) -> str | None:
        """End everything; what was wrong about the end."""
        raise NotImplementedError


QUIET = 1.0
"""Seconds within which a control connection is closed that was used a moment ago."""


def size_of(process: int) -> Size:
    """Its size at rest: descriptors at their fewest within :data:`QUIET`."""
    deadline = Deadline(QUIET)
    fewest = descriptor_count(process)
    while not deadline.expired:
        time.sleep(0.2)
        fewest = min(fewest, descriptor_count(process))
    return Size(fewest, resident_bytes(process))


def hello(name: str) -> bytes:
    return Hello(name.encode()).records()


class Supervised(System):
    """``cloister up``: two applications in cells, one with PROXY headers."""

    def __init__(self, folder: Path) -> None:
        super().__init__("supervised")
        self.up = Up(folder)
        apps = []
        for name, proxy in (("plain", "none"), ("proxied", "v2")):
            directory = folder / "apps" / name
            directory.mkdir(parents=True)
            (directory / "keyed.py").write_text(Path(keyed.__file__).read_text())
            apps.append(
                f'[apps.{name}]\ncommand = ["/usr/bin/python3", "{directory}/keyed.py"]\n'
                f'directory = "{directory}"\nhosts = ["{name}.example"]\nready = "accept"\n'
                f'send-proxy = "{proxy}"\n'
                # Killed over and over: no crash loop of its own.
                'restart = { failures = 1000, window = "1s" }\n'
            )
        self.up.write({}, "\n" + "\n".join(apps))
        self.up.start()
        try:
            self.up.wait_ready()
        except BaseException:
            self.up.close()
            raise
        address = ("127.0.0.1", self.up.port)
        self.ways = [
            Way(self, address, hello("plain.example")),
            Way(self, address, hello("proxied.example")),
            Way(self, address, hello("nobody.example"), exists=False),
        ]
        self.accidents = {
            "kill the door": lambda: self.kill(self.up.status().door.pid),
            "kill an application": lambda: self.kill(self.up.app("plain").pid),
            "kill the other application": lambda: self.kill(self.up.app("proxied").pid),
            "replace the door": self._replace,
        }

    def _replace(self) -> None:
        door = self.up.status().door
        if door.state == "ready" and door.draining < DRAINING:
            # It may have been killed a moment ago.
            with contextlib.suppress(Exception):
                self.up.replace_door()

    def sizes(self) -> dict[str, Size]:
        assert self.up.process is not None
        door = self.up.status().door.pid
        assert door is not None
        return {"supervisor": size_of(self.up.process.pid), "door": size_of(door)}

    def settled(self) -> bool:
        status = self.up.status()
        ready = all(app.state == "ready" for app in status.apps) and status.door.state == "ready"
        return ready and status.door.draining == 0

    def close(self) -> str | None:
        try:
            status = self.up.stop()
            return None if status == 0 else f"the supervisor ended with status {status}"
        except subprocess.TimeoutExpired:
            return "the supervisor does not end"
        finally:
            self.up.close()


class Target:
    """A target process on a socket that outlives it."""

    def __init__(self, listening: socket.socket, *arguments: str) -> None:
        self._listening = listening
        self._arguments = arguments
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, keyed.__file__, *self._arguments]
        script = f'exec 3<&{self._listening.fileno()}; exec "$@"'
        return subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            stdin=subprocess.DEVNULL,
            pass_fds=(self._listening.fileno(),),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def restart(self) -> None:
        """After a kill."""
        self._process.wait(10)
        self._process = self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._listening.close()


class Kept(System):
    """``cloister-door keep``, and targets of its own."""

    def __init__(self, name: str, command: list[str], targets: list[Target]) -> None:
        super().__init__(name)
        self._targets = targets
        self._listening = listen_tcp()
        self.address: tuple[str, int] = self._listening.getsockname()
        user = ["--user", f"{NOBODY}:{NOBODY}"] if os.geteuid() == 0 else []
        manager = ServiceManager(f"@cloister-soak-{os.getpid()}-{name}")
        with contextlib.closing(manager):
            self._keeper = subprocess.Popen(
                [program(), "keep", *command, *user],
                stdin=self._listening.fileno(),
                stderr=subprocess.DEVNULL,
                env={**os.environ, **manager.environment},
            )
            # A first door that is killed before it is ready is one that does not start.
            manager.wait_for(lambda fields: fields.get("READY") == "1")
        self.accidents = {
            "kill a door": lambda: self.kill(max(children(self._keeper.pid), default=None)),
            "replace the door": self._replace,
        }
        for number, target in enumerate(targets):
            self.accidents[f"kill target {number}"] = lambda target=target: self._kill(target)

    def _kill(self, target: Target) -> None:
        self.kill(target.pid)
        target.restart()

    def _replace(self) -> None:
        if len(children(self._keeper.pid)) <= DRAINING:
            self._keeper.send_signal(signal.SIGUSR2)

    def sizes(self) -> dict[str, Size]:
        (door,) = children(self._keeper.pid)
        return {"keeper": size_of(self._keeper.pid), "door": size_of(door)}

    def settled(self) -> bool:
        return len(children(self._keeper.pid)) == 1

    def close(self) -> str | None:
        self._keeper.send_signal(signal.SIGTERM)
        try:
            status = self._keeper.wait(30)
            return None if status == 0 else f"{self.name}: the keeper ended with status {status}"
        except subprocess.TimeoutExpired:
            return f"{self.name}: the keeper does not end"
        finally:
            for process in children(self._keeper.pid) if self._keeper.poll() is None else ():
                os.kill(process, signal.SIGKILL)
            self._keeper.kill()
            self._keeper.wait(10)
            for target in self._targets:
                target.close()
            self._listening.close()


def kept_hosts(folder: Path) -> Kept:
    """A hosts directory: relayed, with a PROXY header, handed off, and a missing name."""
    hosts = folder / "hosts"
    hosts.mkdir()
    targets = []
    for name in ("relayed", "proxied", "handed"):
        directory = hosts / f"{name}.example"
        directory.mkdir()
        if name == "handed":
            targets.append(Target(bound(directory / "handoff-socket", handoff=True), "handoff"))
        else:
            targets.append(Target(bound(directory / "tls-socket")))
    (hosts / "proxied.example" / "send-proxy-v1").touch()
    for path in (folder, hosts, *hosts.iterdir()):
        path.chmod(0o755)
    kept = Kept("kept hosts", ["sni", "--hosts", str(hosts)], targets)
    names = ("relayed", "proxied", "handed", "nobody")
    kept.ways = [
        Way(kept, kept.address, hello(f"{name}.example"), exists=name != "nobody") for name in names
    ]
    return kept


def kept_relay() -> Kept:
    """A relay to a TCP port: no hello is looked at."""
    listening = listen_tcp()
    host, port = listening.getsockname()
    kept = Kept("kept relay", ["relay", f"{host}:{port}"], [Target(listening)])
    kept.ways = [Way(kept, kept.address, b"")]
    return kept


def bound(path: Path, *, handoff: bool = False) -> socket.socket:
    """A listening Unix socket that everybody may connect to."""
    listening = socket.socket(
        socket.AF_UNIX, socket.SOCK_SEQPACKET if handoff else socket.SOCK_STREAM
    )
    with short_path(path) as short:
        listening.bind(short)
    path.chmod(0o666)
    listening.listen(4096)
    return listening
