"""A corner of the host in which sockets are really broken, and mended by what doctor prints."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.support.waiting import wait_until

from cloister.diagnose import asker as askers
from cloister.diagnose.doctor import diagnose
from cloister.diagnose.probes.host import HostProbes
from cloister.diagnose.target import Target, parse
from cloister.model.finding import Diagnosis, Finding

SERVER_UID, SERVER_GID = 71001, 71001
ASKER_UID, ASKER_GID = 71002, 71002
"""Nobody's: no user or group of a Debian system has them."""

_SERVER = """
import os, socket, sys
kind, path, umask, backlog, loop = sys.argv[1:6]
os.umask(int(umask, 8))
listening = socket.socket(socket.AF_UNIX, getattr(socket, kind))
listening.bind("\\0" + path[1:] if path.startswith("@") else path)
if kind != "SOCK_DGRAM":
    listening.listen(int(backlog))
print("ready", flush=True)
while loop == "accept":
    connection, _ = listening.accept()
    if connection.recv(4096):
        connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n")
    connection.close()
sys.stdin.read()
"""


class Corner:
    """Processes and files of one test; :meth:`close` ends and removes them all."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        # Not below pytest's folders, which nobody but their owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="cloister-doctor-", dir="/var/tmp"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)

    def directory(
        self, name: str, *, uid: int = SERVER_UID, gid: int = 0, mode: int = 0o755
    ) -> Path:
        """A directory for sockets."""
        path = self.folder / name
        path.mkdir(parents=True)
        os.chown(path, uid, gid)
        path.chmod(mode)
        return path

    def start(
        self,
        *command: str,
        uid: int = ASKER_UID,
        gid: int = ASKER_GID,
        groups: Sequence[int] = (),
        before: Sequence[str] = (),
        ready: bool = False,
    ) -> subprocess.Popen[str]:
        """A process with these ids and no capability, after ``before`` (unshare and the like);
        with ``ready`` it has said a line when this returns."""
        lists = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", *lists, "--"]
        process = subprocess.Popen(
            [*before, *become, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if ready else subprocess.DEVNULL,
            text=True,
            cwd="/",
        )
        self._stack.callback(_end, process)
        if ready:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        else:
            # setpriv(1) has the ids but still capabilities before it becomes the command.
            name = Path(command[0]).name
            wait_until(lambda: _runs(process.pid, name), what=name)
        return process

    def serve(
        self,
        path: Path | str,
        *,
        uid: int = SERVER_UID,
        gid: int = SERVER_GID,
        kind: str = "SOCK_STREAM",
        umask: str = "007",
        backlog: int = 128,
        accept: bool = True,
        before: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """A server that makes its own socket, as servers do: under a umask, with its group."""
        settings = [kind, str(path), umask, str(backlog), "accept" if accept else "wait"]
        python = [sys.executable, "-I", "-S", "-c", _SERVER]
        return self.start(*python, *settings, uid=uid, gid=gid, before=before, ready=True)

    def asker(
        self, *, groups: Sequence[int] = (SERVER_GID,), before: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """A process that is to connect: it only waits."""
        return self.start("cat", groups=groups, before=before)

    def run(self, *command: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """A program as root that ends with the corner."""
        process = subprocess.Popen([*before, *command], stdin=subprocess.DEVNULL)
        self._stack.callback(_end_program, process)
        return process

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _end_program(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _runs(pid: int, name: str) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == name


def examine(target: Target | Path | str, who: subprocess.Popen[str] | str | None) -> Diagnosis:
    """What doctor says, by the same way as the command."""
    text = str(who.pid) if isinstance(who, subprocess.Popen) else who
    wanted = target if isinstance(target, Target) else parse(str(target))
    with HostProbes() as probes:
        return diagnose(wanted, askers.find(text, probes), probes)


def cure(finding: Finding) -> None:
    """Runs the command as it is printed."""
    assert finding.cure is not None, finding
    subprocess.run(["sh", "-c", finding.cure], check=True, stdin=subprocess.DEVNULL, timeout=30)


def codes(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in diagnosis.findings]


@contextlib.contextmanager
def again(name: str, uid: int) -> Iterator[str]:
    """The process of this name and user that a cure has started; its number, ended afterwards."""
    command = ["pgrep", "--euid", str(uid), "--exact", name]

    def running() -> list[str]:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return done.stdout.split()

    (pid,) = wait_until(running, what=f"{name} of user {uid}")
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """Holds a process still meanwhile."""
    process.send_signal(signal.SIGSTOP)
    wait_until(
        lambda: "\nState:\tT" in Path(f"/proc/{process.pid}/status").read_text(),
        what="a stopped process",
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
