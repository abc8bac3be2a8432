"""What an audit says of a process's reach is what the kernel lets that process do."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloister.audit import auditor, collect
from cloister.audit.bounds import Groups
from cloister.audit.facts import Process
from cloister.audit.reach import Reaches, unix_sockets
from cloister.audit.risk import Audit

pytestmark = pytest.mark.usefixtures("as_root")

USER, OTHER = 61_301, 61_302

PROCESS = """
import json, os, signal, socket, sys
root, uid, gid, groups, paths = json.loads(sys.argv[1])
os.chroot(root); os.chdir("/")
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
def allowed(path):
    try:
        if path.endswith(".sock"):
            socket.socket(socket.AF_UNIX).connect(path)
        elif os.path.isdir(path):
            os.listdir(path)
        else:
            open(path).close()
        return True
    except OSError:
        return False
print(json.dumps([path for path in paths if allowed(path)]), flush=True)
signal.pause()
"""
"""Becomes somebody in a root of its own, tries every path, says which it may use, stays."""


@dataclass(frozen=True)
class Running:
    pid: int
    allowed: frozenset[str]


@contextmanager
def running(
    root: Path, paths: list[str], *, uid: int, gid: int, groups: list[int]
) -> Iterator[Running]:
    request = json.dumps([str(root), uid, gid, groups, paths])
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, request], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Running(process.pid, frozenset(json.loads(process.stdout.readline())))
        finally:
            process.kill()


def find(pid: int) -> tuple[Process, Reaches, Audit]:
    host = collect.host()
    (process,) = [one for one in host.processes if one.pid == pid]
    reaches = Reaches(unix_sockets(host.processes))
    (audit,) = auditor.audit(host, [process], reaches.of, Groups().of)
    return process, reaches, audit


FILES = {
    # path: (owner, group, mode)
    "/etc/shadow": (0, 42, 0o640),
    "/etc/ssh/ssh_host_rsa_key": (0, 0, 0o600),
    "/etc/ssh/ssh_host_rsa_key.pub": (0, 0, 0o644),
    "/etc/ssl/private/a.key": (0, 77, 0o640),
    "/root/.aws/credentials": (0, 0, 0o644),
    "/home/alice/.ssh/id_rsa": (OTHER, OTHER, 0o600),
    "/home/alice/.pgpass": (OTHER, OTHER, 0o644),
    "/home/bob/.my.cnf": (USER, USER, 0o600),
}
FOLDERS = {
    "/etc/ssl/private": (0, 77, 0o710),
    "/root": (0, 0, 0o700),
    "/root/.aws": (0, 0, 0o755),
    "/home/alice": (OTHER, OTHER, 0o755),
    "/home/alice/.ssh": (OTHER, OTHER, 0o755),
    "/home/bob": (USER, USER, 0o700),
    "/srv/open": (OTHER, OTHER, 0o755),
    "/srv/listed-only": (OTHER, OTHER, 0o744),
    "/srv/closed": (OTHER, OTHER, 0o750),
    "/srv/own": (USER, USER, 0o755),
    "/var/www/group": (OTHER, 77, 0o750),
}
SOCKETS = {
    "/run/docker.sock": (0, 88, 0o660),
    "/run/open.sock": (OTHER, OTHER, 0o666),
    "/run/closed.sock": (OTHER, OTHER, 0o600),
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    everything = {**FOLDERS, **FILES, **SOCKETS}
    with ExitStack() as stack:
        for path, (uid, gid, mode) in everything.items():
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if path in FOLDERS:
                place.mkdir(exist_ok=True)
            elif path in FILES:
                place.write_text("secret\n")
            else:
                listening = stack.enter_context(socket.socket(socket.AF_UNIX))
                # The name is made inside the other root: /proc/net/unix shows it as it was given.
                here = os.open("/", os.O_RDONLY)
                os.chroot(tmp_path)
                try:
                    listening.bind(path)
                finally:
                    os.fchdir(here)
                    os.chroot(".")
                    os.close(here)
                listening.listen(64)
            os.chown(place, uid, gid)
            place.chmod(mode)
        yield tmp_path


@pytest.mark.parametrize(
    ("uid", "groups"),
    [(USER, []), (USER, [77]), (USER, [88]), (OTHER, []), (OTHER, [42, 77, 88])],
)
def test_what_it_says_is_what_the_kernel_allows(root: Path, uid: int, groups: list[int]) -> None:
    asked = [*FILES, *SOCKETS]
    with running(root, asked, uid=uid, gid=uid, groups=groups) as one:
        process, reaches, _ = find(one.pid)
        reach = reaches.of(process)
    found = {*reach.system_secrets, *reach.keys, *reach.masters}
    own = {path for path, (owner, _, _) in SOCKETS.items() if owner == uid}
    # What anybody may know is no secret; its own sockets are no strangers'.
    expected = one.allowed - {"/etc/ssh/ssh_host_rsa_key.pub"} - own
    assert (found | set(reach.sockets)) & set(asked) == expected
    assert expected != set(asked)


def test_folders_of_others_are_told_where_they_can_be_read(root: Path) -> None:
    with running(root, [], uid=USER, gid=USER, groups=[77]) as one:
        process, reaches, audit = find(one.pid)
        reach = reaches.of(process)
    assert set(reach.foreign_data) == {"/home/alice", "/srv/open", "/var/www/group"}
    codes = {risk.check.code for risk in audit.risks}
    assert {"foreign-data", "keys", "system-calls", "namespaces"} <= codes
    assert "root-user" not in codes


def test_root_without_capabilities_is_still_root() -> None:
    with subprocess.Popen(
        [
            "setpriv",
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--no-new-privs",
            sys.executable,
            "-c",
            "import signal; print(1, flush=True); signal.pause()",
        ],
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            _, _, audit = find(process.pid)
        finally:
            process.kill()
    by_code = {risk.check.code: risk for risk in audit.risks}
    assert by_code["root-user"].share == 0.8
    assert "capabilities" not in by_code
    assert "new-privileges" not in by_code


def test_a_shared_user_and_a_port_are_found() -> None:
    script = (
        f"import os, signal, socket; os.setgroups([]); os.setgid({USER}); os.setuid({USER});"
        "listening = socket.create_server(('127.0.0.1', 0));"
        "print(listening.getsockname()[1], flush=True); signal.pause()"
    )
    with ExitStack() as stack:
        ports, pids = [], []
        for _ in range(2):
            command = ["setsid", sys.executable, "-c", script]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            ports.append(int(process.stdout.readline()))
            pids.append(process.pid)
        _, _, audit = find(pids[0])
    seen = {risk.check.code: risk.seen for risk in audit.risks}
    assert f"({pids[1]})" in seen["shared-user"]
    assert f"127.0.0.1:{ports[0]}" in seen["network-listener"]


def test_bounds_are_those_of_the_group() -> None:
    """A real group of the version that the host has."""
    base = Path("/sys/fs/cgroup/memory")
    if not (base / "memory.limit_in_bytes").exists():
        pytest.skip("no memory controller of version 1 on this host")
    group = base / f"cloister-audit-{os.getpid()}"
    group.mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            (group / "memory.limit_in_bytes").write_text(str(64 * 1024 * 1024))
            before, _, _ = find(process.pid)
            (group / "cgroup.procs").write_text(str(process.pid))
            after, _, audit = find(process.pid)
            assert Groups().of(before).memory is None
            assert Groups().of(after).memory == 64 * 1024 * 1024
            assert "memory" not in {risk.check.code for risk in audit.risks}
        finally:
            process.kill()
            process.wait(10)
            group.rmdir()
