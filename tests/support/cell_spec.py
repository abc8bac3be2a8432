"""Specifications for ``cloister-cell`` and real cells made of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import status_fields

from cloister.cells import programs
from cloister.processes import memory_file

PROGRAM = programs.find("cloister-cell")
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
"""Preferably one that every user can reach: the tests' own may be root's."""
HOST_ID = 487_001
"""User and group of the default cell on the host: nobody else's."""
DEADLINE = 20.0
"""Seconds after which a cell that should have ended is a failure."""

Change = Callable[[dict[str, Any]], None]


def specification(*command: str, rootless: bool = False, **changes: Any) -> dict[str, Any]:
    """A default cell: everything apart, the host's programs to be seen, nothing else.

    ``changes`` replace whole fields, or single ones with a path: ``protections__new_session``.
    """
    binds = [bind("/usr")]
    links = []
    for name in ("bin", "sbin", "lib", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            links.append({"path": str(path), "target": str(path.readlink())})
        elif path.is_dir():
            binds.append(bind(str(path)))
    if sys.executable == PYTHON:
        binds += [bind(prefix) for prefix in {sys.base_prefix, sys.prefix} - {"/usr"}]
    spec: dict[str, Any] = {
        "name": "test",
        "command": list(command),
        "environment": [{"name": "PATH", "value": "/usr/local/bin:/usr/bin:/usr/sbin"}],
        "working_directory": "/",
        "hostname": "cell",
        "identity": one_id(os.geteuid(), os.getegid()) if rootless else one_id(HOST_ID),
        "host_groups": [],
        "control_groups": {"unified": None, "members": []},
        "init": True,
        "namespaces": dict.fromkeys(
            ("user", "mount", "pid", "ipc", "uts", "cgroup", "network", "time"), True
        ),
        "clocks": {"monotonic_ns": 0, "boottime_ns": 0},
        "filesystem": {
            "root": None,
            "binds": binds,
            "temporary": [temporary("/tmp", 16 * 1024 * 1024)],
            "files": [],
            "links": links,
            "proc": True,
            "dev": True,
        },
        "descriptors": [],
        "stdin": "null",
        "protections": dict.fromkeys(
            (
                "drop_capabilities",
                "no_new_privileges",
                "new_session",
                "new_keyring",
                "no_core_dumps",
                "close_descriptors",
            ),
            True,
        ),
        # None: what the other fences keep in is to be seen by itself.
        "fences": {"system_calls": None, "landlock": None, "limits": [], "proc": [], "labels": []},
    }
    for name, value in changes.items():
        place = spec
        *above, last = name.split("__")
        for part in above:
            place = place[part]
        if last not in place:
            raise KeyError(name)
        place[last] = value
    return spec


def bind(
    source: str,
    destination: str | None = None,
    *,
    writable: bool = False,
    executable: bool = True,
    optional: bool = False,
    owners: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "source": source,
        "destination": destination or source,
        "writable": writable,
        "executable": executable,
        "optional": optional,
        "owners": owners,
    }


def temporary(
    path: str, size_bytes: int = 1024 * 1024, mode: int = 0o1777, *, executable: bool = True
) -> dict[str, Any]:
    return {"path": path, "size_bytes": size_bytes, "mode": mode, "executable": executable}


def id_range(inside: int, outside: int, size: int = 1) -> dict[str, int]:
    """A run of ids."""
    return {"inside": inside, "outside": outside, "size": size}


def one_id(
    host_uid: int, host_gid: int | None = None, uid: int = 1000, gid: int = 1000
) -> dict[str, Any]:
    """One user and one group."""
    host_gid = host_uid if host_gid is None else host_gid
    return {
        "uid": uid,
        "gid": gid,
        "host_uid": host_uid,
        "host_gid": host_gid,
        "uid_map": [id_range(uid, host_uid)],
        "gid_map": [id_range(gid, host_gid)],
        "host_root": False,
    }


def python(script: str) -> list[str]:
    """A command that runs the script."""
    return [PYTHON, "-I", "-c", script]


def with_binds(*binds: dict[str, Any]) -> dict[str, Any]:
    """The change that adds binds to the default ones."""
    return {"filesystem__binds": [*specification()["filesystem"]["binds"], *binds]}


@dataclass
class Cell:
    """One running cell."""

    process: subprocess.Popen[bytes]
    status: int
    """The read end of the status descriptor."""
    output: bytes = field(default=b"")
    fences: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was said to be in force, by name; known once ``failure`` was asked."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def failure(self) -> dict[str, Any] | None:
        """The failure that was reported; ``None`` once the application is executed."""
        report = b""
        while chunk := os.read(self.status, 65536):
            report += chunk
        for line in map(json.loads, report.splitlines()):
            if "fences" not in line:
                return line
            self.fences = {fence["name"]: fence for fence in line["fences"]}
        return None

    def init(self) -> int:
        """The id of init on the host."""
        return children(self.pid)[0]

    def application(self) -> int:
        """The id of the application on the host."""
        return children(self.init())[0]

    def finish(self, deadline: float = DEADLINE) -> int:
        """Waits for the end; negative for a signal."""
        self.output, _ = self.process.communicate(timeout=deadline)
        return self.process.returncode


@contextlib.contextmanager
def launched(
    spec: dict[str, Any] | bytes,
    *options: str,
    program: str = PROGRAM,
    pass_fds: Sequence[int] = (),
    **keywords: Any,
) -> Iterator[Cell]:
    """Starts a cell; kills it at the end of the block, if it has not ended."""
    data = spec if isinstance(spec, bytes) else json.dumps(spec).encode()
    spec_descriptor = memory_file("spec", data)
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            [program, "run", f"--spec-fd={spec_descriptor}", f"--status-fd={write}", *options],
            pass_fds=(spec_descriptor, write, *pass_fds),
            **{"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, **keywords},
        )
    finally:
        os.close(write)
        os.close(spec_descriptor)
    cell = Cell(process, read)
    try:
        yield cell
    finally:
        os.close(read)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@dataclass(frozen=True)
class Outcome:
    """How a cell ended."""

    status: int
    output: str
    failure: dict[str, Any] | None
    fences: dict[str, dict[str, Any]]
    """What was said to be in force, by name."""


def run(spec: dict[str, Any] | bytes, *options: str, **keywords: Any) -> Outcome:
    """Runs a cell to its end."""
    with launched(spec, *options, **keywords) as cell:
        failure = cell.failure()
        status = cell.finish()
        return Outcome(status, cell.output.decode(errors="replace"), failure, cell.fences)


def run_python(script: str, *, launch: dict[str, Any] | None = None, **changes: Any) -> Outcome:
    """Runs a Python script in a cell to its end; ``launch`` is for :func:`launched`."""
    return run(specification(*python(script), **changes), **(launch or {}))


@contextlib.contextmanager
def sysctl(name: str, value: str) -> Iterator[None]:
    """Sets a setting of the kernel for the block; skips the test where root may not."""
    path = Path("/proc/sys", name)
    before = path.read_text()
    try:
        path.write_text(value)
    except PermissionError:
        pytest.skip(f"root may not write {path} here: it lacks CAP_SYS_RESOURCE")
    try:
        yield
    finally:
        path.write_text(before)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def status_field(pid: int, name: str) -> str:
    """One field of ``/proc/PID/status``, as the host sees it."""
    return status_fields(pid)[name]
