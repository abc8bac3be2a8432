"""Processes of a measurement: pinned to a core, stopped by their own process group."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .peers import SERVER_NAME, TEMPLATES, Peer

#: A peer answers its first connection by then, or is given up.
START_SECONDS = 10.0
STOP_SECONDS = 5.0


class BenchError(Exception):
    """A program did not start, or a run failed."""


class Pinned:
    """One child process on one core. Closing it ends it and everything that it started."""

    def __init__(
        self,
        command: Sequence[str],
        core: int,
        log: Path,
        *,
        stdin: socket.socket | None = None,
        stdout: int | None = None,
        directory: Path | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdin=subprocess.DEVNULL if stdin is None else stdin.fileno(),
                stdout=errors if stdout is None else stdout,
                stderr=errors,
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The program's own: taskset and the shell before it have replaced themselves."""
        return self.process.pid

    def said(self) -> str:
        """The end of what it wrote to its log."""
        return self.log.read_text(errors="replace")[-2000:].strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Bench:
    """The backend, the scratch folder and the two cores of one comparison.

    The proxy has one core for itself; backend and load share the other. So the proxy is never
    moved or interrupted by what measures it.
    """

    def __init__(self, harness: Path, scratch: Path) -> None:
        self.harness = harness
        self.scratch = scratch
        # Proxies that drop their privileges walk through it to the backend's socket.
        scratch.chmod(0o755)
        cores = sorted(os.sched_getaffinity(0))
        self.load_core, self.proxy_core = cores[0], cores[-1]
        # The door finds a backend by a folder of the server's name, so all others go there too.
        self.hosts = scratch / "hosts"
        (self.hosts / SERVER_NAME).mkdir(parents=True)
        self.backend_path = self.hosts / SERVER_NAME / "tls-socket"
        handoff_folder = scratch / "handoff-hosts" / SERVER_NAME
        handoff_folder.mkdir(parents=True)
        self.handoff_path = handoff_folder / "handoff-socket"

    @contextlib.contextmanager
    def backend(self) -> Iterator[str]:
        """Runs the backend; yields its TCP address for runs without a proxy."""
        command = [str(self.harness), "backend", "--socket", str(self.backend_path)]
        command += ["--handoff-socket", str(self.handoff_path)]
        log = self.scratch / "backend.log"
        with Pinned(command, self.load_core, log, stdout=subprocess.PIPE) as process:
            if process.process.stdout is None:
                raise BenchError("the backend has no standard output")
            address = process.process.stdout.readline().decode().strip()
            if not address:
                raise BenchError(f"the backend did not start: {process.said()}")
            yield address

    @contextlib.contextmanager
    def running(self, peer: Peer) -> Iterator[tuple[str, int]]:
        """Runs a peer until it has relayed one connection; yields its address and its pid."""
        directory = self.scratch / peer.name.replace(" ", "-")
        directory.mkdir(exist_ok=True)
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        port = listener.getsockname()[1]
        if peer.listener == "bound":
            listener.close()  # the port stays free until the peer, started next, binds it
        values = {
            "PORT": str(port),
            "BACKEND": str(self.backend_path),
            "NAME": SERVER_NAME,
            "DIRECTORY": str(directory),
            "CONFIG": str(directory / "config"),
        }
        if peer.template is not None:
            text = (TEMPLATES / peer.template).read_text()
            (directory / "config").write_text(_filled(text, values))
        command = [_filled(word, values) for word in peer.command]
        stdin = None
        if peer.listener != "bound":
            stdin = listener
        if peer.listener == "activated":
            # sd_listen_fds(3): descriptor 3, and LISTEN_PID names the process that is meant.
            script = 'exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
            command = ["sh", "-c", script, "sh", *command]
        cwd = self.scratch / peer.hosts if peer.listener == "inherited" else directory
        log = directory / "log"
        with (
            contextlib.closing(listener),
            Pinned(command, self.proxy_core, log, stdin=stdin, directory=cwd) as process,
        ):
            address = f"127.0.0.1:{port}"
            self._wait_for(peer, process, address)
            yield address, process.pid

    def _wait_for(self, peer: Peer, process: Pinned, address: str) -> None:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                self.load(["connections", "--count", "1", "--deadline", "2"], address, None)
            except BenchError as error:
                if process.process.poll() is not None or time.monotonic() > give_up:
                    raise BenchError(f"{peer.name} did not start: {process.said()}") from error
                time.sleep(0.05)
            else:
                return

    def load(self, arguments: Sequence[str], address: str, pid: int | None) -> str:
        """Runs the load generator once and returns its line of JSON."""
        command = ["taskset", "-c", str(self.load_core), str(self.harness), *arguments]
        command += ["--to", address, "--name", SERVER_NAME]
        if pid is not None:
            command += ["--pid", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise BenchError(done.stderr.strip() or f"the load ended with {done.returncode}")
        return done.stdout


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
