"""A running ``cloister up`` for tests, and what it may leave behind."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from tests.support.processes import command_line
from tests.support.waiting import INTERVAL, wait_until

from cloister.apps.status import AppStatus, DaemonStatus, DoorStatus
from cloister.cells.cgroups.groups import control_groups
from cloister.control.client import ControlClient
from cloister.control.messages import ConfigurationText
from cloister.model.configuration import Dialect
from cloister.model.errors import DaemonUnreachableError
from cloister.model.snapshot import Paths

ASGI = """
import asyncio, os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        print("slow began", flush=True)
        await asyncio.sleep(1)
    body = f"asgi {scope['scheme']} {scope['path']} {os.getuid()}".encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
WSGI = """
def app(environ, start_response):
    body = f"wsgi {environ['wsgi.url_scheme']} {environ['PATH_INFO']}".encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
"""
SITES = {"one": ASGI, "two": WSGI}


def have_ended(processes: list[psutil.Process]) -> bool:
    """Whether nothing of them runs any more. One that was killed together with its parent
    may wait for the system's first process to reap it, which is not ours to hurry.
    """

    def ended(process: psutil.Process) -> bool:
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return all(ended(process) for process in processes)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that every user can pass: the door runs as one of its own."""
    folder = Path(tempfile.mkdtemp(prefix="cloister-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Up:
    """One supervisor with its configuration in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "cloister.toml"
        self.runtime = folder / "run" / "cloister"
        self.state = folder / "state"
        self.log_path = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.python = sys.executable
        """Whose `cloister` is run."""
        self.patience = 60.0
        """Seconds until everything serves."""
        self.ready_timeout = 20.0
        """The applications' own, in seconds."""
        self.user: int | None = None
        """As whom, where that is not the tests' own user."""
        self._left: list[psutil.Process] = []
        self._holders: list[psutil.Process] = []

    def write(self, apps: dict[str, str], extra: str = "") -> None:
        """A configuration with one TLS listener and an application for each module text."""
        blocks = [
            f'[cloister]\nruntime-directory = "{self.runtime}"\nstate-directory = "{self.state}"',
            '[listeners.https]\nlisten = "127.0.0.1:0"',
        ]
        for name, code in apps.items():
            directory = self.folder / "apps" / name
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "web.py").write_text(code)
            blocks.append(
                f'[apps.{name}]\npython = "web:app"\ndirectory = "{directory}"\n'
                f'hosts = ["{name}.example", "*.{name}.example"]\ntls = "self-signed"\n'
                f'ready-timeout = "{self.ready_timeout:g}s"\nstop-timeout = "5s"'
            )
        self.config.write_text("\n\n".join(blocks) + "\n" + extra)

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Start it; returns at once."""
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "cloister", "up", str(self.config), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )

    def wait_ready(self, *names: str) -> DaemonStatus:
        """Returns when the door serves and these applications, or all, do."""

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log_path.read_text()
            try:
                status = self.status()
            except DaemonUnreachableError:
                return False
            return status.door.state == "ready" and all(
                app.state == "ready" for app in status.apps if app.name in names or not names
            )

        # What takes long is not made slower by being asked all the time.
        interval = max(INTERVAL, self.patience / 1000 - 0.06)
        wait_until(ready, what="ready", seconds=self.patience, interval=interval)
        return self.status()

    def status(self) -> DaemonStatus:
        with ControlClient(str(self.runtime / "control.sock")) as client:
            return client.status()

    def replace_door(self) -> DoorStatus:
        with ControlClient(str(self.runtime / "control.sock")) as client:
            return client.replace_door()

    def configuration(self) -> ConfigurationText:
        with ControlClient(str(self.runtime / "control.sock")) as client:
            return client.configuration()

    def apply(self, text: str | None = None) -> ConfigurationText:
        """Have this text run, or that of the file as it is by now."""
        with ControlClient(str(self.runtime / "control.sock")) as client:
            wanted = self.config.read_text() if text is None else text
            return client.replace_configuration(wanted, Dialect.TOML)

    def app(self, name: str) -> AppStatus:
        return next(app for app in self.status().apps if app.name == name)

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Ask it to stop and wait for that; its exit code."""
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(seconds)

    def family(self) -> list[psutil.Process]:
        """Everything that it has started, and what it has taken over."""
        assert self.process is not None
        found = [*self._left, *self.holders()]
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in dict.fromkeys(found) if not have_ended([one])]

    def holders(self) -> list[psutil.Process]:
        """What keeps its descriptors, and those of supervisors before it."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.process.pid).children():
                if one not in self._holders and command_line(one)[1:2] == ["hold"]:
                    self._holders.append(one)
        return [one for one in self._holders if not have_ended([one])]

    def kill(self) -> None:
        """SIGKILL to the supervisor alone; whatever it had goes on."""
        assert self.process is not None
        self._left = self.family()
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """Whatever the test did, nothing of it runs afterwards."""
        if self.process is None:
            return
        with contextlib.ExitStack() as stack:
            stack.callback(self._clear_groups)
            family = [*self.family(), *self._unseen_holders()]
            self.process.kill()
            self.process.wait(60)
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            wait_until(lambda: have_ended(family), what="the end of every process", seconds=60)

    def _unseen_holders(self) -> list[psutil.Process]:
        """Holders that no look at a living supervisor's children has shown: what they keep
        ends with them."""
        found = []
        for one in psutil.net_connections("unix"):
            # Bound in a folder that is gone by now, and below this one.
            if str(one.laddr).startswith(f"{self.runtime}/") and one.pid is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(one.pid)
                    if process.cmdline()[1:2] == ["hold"]:
                        found.append(process)
        return found

    def _clear_groups(self) -> None:
        """One that was killed leaves its groups, and who is in them, to the next one of its
        place, which never comes."""
        groups = control_groups(Paths(str(self.runtime), str(self.state)))
        groups.clear()
        groups.close()

    @property
    def port(self) -> int:
        listener = self.status().listeners[0]
        return int(listener.address.rpartition(":")[2])

    @property
    def authority(self) -> str:
        return str(self.state / "authority" / "ca.pem")

    def log(self) -> list[dict[str, Any]]:
        """The log so far, where it is JSON."""
        lines = self.log_path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def said(self, source: str) -> list[str]:
        """The messages of one source so far."""
        return [line["message"] for line in self.log() if line["source"] == source]

    def curl(self, host: str, path: str = "/", *arguments: str, check: bool = True) -> str:
        """The answer's body, by curl, which checks the certificate and the name."""
        port = self.port
        resolve = f"{host}:{port}:127.0.0.1"
        url = f"https://{host}:{port}{path}"
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            f"{self.patience / 3:g}",
            "--cacert",
        ]
        return subprocess.run(
            [*command, self.authority, "--resolve", resolve, *arguments, url],
            check=check,
            capture_output=True,
            text=True,
        ).stdout


class Client:
    """One request after the other, each on a connection of its own."""

    def __init__(self, up: Up, host: str) -> None:
        self._address = ("127.0.0.1", up.port)
        self._host = host
        self._context = ssl.create_default_context(cafile=up.authority)

    def get(self, path: str = "/") -> bytes:
        """The body. Raises whatever goes wrong: ``ConnectionRefusedError`` among it."""
        with socket.create_connection(self._address, timeout=30) as plain:
            connection = http.client.HTTPSConnection(self._host, context=self._context)
            connection.sock = self._context.wrap_socket(plain, server_hostname=self._host)
            with contextlib.closing(connection):
                connection.request("GET", path, headers={"connection": "close"})
                response = connection.getresponse()
                assert response.status == 200
                return response.read()


class Traces:
    """What a supervisor could leave on the machine: compared before and after."""

    def __init__(self, folder: Path, *, ignore: tuple[str, ...] = ()) -> None:
        self.files = sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if not str(path.relative_to(folder)).startswith(ignore)
        )
        # Other tests mount too; what belongs to this folder names it.
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        self.mounts = [line for line in mounts if str(folder) in line]
        sockets = Path("/proc/net/unix").read_text().splitlines()
        self.sockets = [line for line in sockets if str(folder) in line]
        self.processes = sorted(
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if any(str(folder) in argument for argument in process.info["cmdline"] or ())
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Traces) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(vars(self))
