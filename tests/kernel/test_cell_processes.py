"""Other processes, init and the launcher's descriptors are out of an application's reach."""

import fcntl
import os
import resource
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cell_attempts import REACHED, in_cell, script
from tests.support.cell_spec import HOST_ID, launched, one_id, python, run_python, specification

pytestmark = pytest.mark.usefixtures("root")

TRACE = "check(libc.ptrace(16, {}, None, None))"
"""PTRACE_ATTACH."""
SECRET = "correct-horse-battery-staple"


@pytest.fixture
def victim() -> Iterator[int]:
    """A process on the host with the very ids of the cell."""
    process = subprocess.Popen(["sleep", "60"], user=HOST_ID, group=HOST_ID, extra_groups=[])
    yield process.pid
    process.kill()
    process.wait()


def test_signals_to_processes_of_the_same_user(victim: int) -> None:
    body = f"os.kill({victim}, 0)"
    assert in_cell(body) == "denied ESRCH"
    assert in_cell(body, namespaces__pid=False) == REACHED


def test_tracing_processes_of_the_same_user(victim: int) -> None:
    _needs_classic_ptrace()
    body = TRACE.format(victim)
    assert in_cell(body) == "denied ESRCH"
    # Without the pid namespace, the user namespace still denies it.
    assert in_cell(body, namespaces__pid=False) == "denied EPERM"
    assert in_cell(body, namespaces__pid=False, namespaces__user=False) == REACHED


def test_processes_of_the_host_cannot_be_seen(victim: int) -> None:
    body = f"open('/proc/{victim}/cmdline').read()"
    assert in_cell(body) == "denied ENOENT"
    assert in_cell(body, namespaces__pid=False) == REACHED


def test_only_its_own_processes_are_listed() -> None:
    outcome = run_python("import os; print(*sorted(os.listdir('/proc')))")
    assert outcome.output.split() == ["2", "self", "thread-self"]


@pytest.mark.parametrize("file", ["mem", "environ", "maps", "auxv"])
def test_what_init_has_in_memory(file: str) -> None:
    body = "open('/proc/{}/" + file + "', 'rb')"
    assert in_cell(body.format(1)) == "denied ENOENT"
    assert in_cell(body.format("self")) == REACHED
    # A /proc that hides nobody: init is still nobody's to look at. Without a pid namespace
    # process 1 would be the host's, so this asks for init by its number.
    body = "open(f'/proc/{os.getppid()}/" + file + "', 'rb')"
    assert in_cell(body, namespaces__pid=False) == "denied EACCES"


@pytest.mark.parametrize("link", ["exe", "root", "cwd", "fd", "ns/mnt"])
def test_what_init_has_open(link: str) -> None:
    call = "os.listdir" if link == "fd" else "os.stat"
    body = f"{call}('/proc/{{}}/{link}')"
    assert in_cell(body.format(1)) == "denied ENOENT"
    assert in_cell(body.format("self")) == REACHED
    visible = f"{call}(f'/proc/{{os.getppid()}}/{link}')"
    assert in_cell(visible, namespaces__pid=False) == "denied EACCES"


def test_init_cannot_be_traced() -> None:
    _needs_classic_ptrace()
    assert in_cell(TRACE.format(1)) == "denied EPERM"
    superuser = one_id(HOST_ID, uid=0, gid=0)
    everything: dict[str, Any] = {
        "identity": superuser,
        "protections__drop_capabilities": False,
        "protections__no_new_privileges": False,
    }
    assert in_cell(TRACE.format(1), **everything) == "denied EPERM"
    child = "pid = os.fork()\nif not pid: time.sleep(60)\n" + TRACE.format("pid")
    assert in_cell(child + "; os.kill(pid, 9)") == REACHED


def test_init_and_launcher_hold_nothing() -> None:
    with launched(specification("sleep", "60")) as cell:
        assert cell.failure() is None
        for pid in (cell.pid, cell.init()):
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            assert sorted(link.split(":")[0] for link in links) == [
                "/dev/null",
                "/dev/null",
                "/dev/null",
                "anon_inode",
                "socket",
            ]


@pytest.mark.parametrize("who", ["launcher", "init"])
def test_no_secret_stays_in_memory(who: str) -> None:
    read, write = os.pipe()
    os.write(write, f"credential-{SECRET}".encode())
    os.close(write)
    # A script as a command-line argument would hold the secret by itself.
    spec = specification(
        "sleep",
        "60",
        environment=[
            {"name": "PATH", "value": "/usr/bin"},
            {"name": "TOKEN", "value": f"token-{SECRET}"},
        ],
        filesystem__files=[
            {
                "path": "/run/secret",
                "mode": 0o400,
                "content": {"kind": "descriptor", "descriptor": read},
            },
            {
                "path": "/run/text",
                "mode": 0o400,
                "content": {"kind": "text", "text": f'text-"{SECRET}"\n'},
            },
        ],
    )
    environment = {"SUPERVISOR": f"inherited-{SECRET}"}
    with launched(spec, pass_fds=[read], env=environment) as cell:
        os.close(read)
        assert cell.failure() is None
        pid = cell.pid if who == "launcher" else cell.init()
        assert SECRET.encode() not in memory(pid)
        # The same search finds it where it belongs.
        assert f"TOKEN=token-{SECRET}".encode() in memory(cell.application())


def memory(pid: int) -> bytes:
    """All that a process has in writable memory."""
    found = b""
    with Path(f"/proc/{pid}/mem").open("rb") as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, permissions = line.split()[:2]
            if permissions.startswith("rw"):
                start, end = (int(number, 16) for number in area.split("-"))
                file.seek(start)
                found += file.read(end - start)
    return found


def test_descriptors_that_are_not_handed_over() -> None:
    read, write = os.pipe()
    try:
        # A number that nothing in the cell's making uses by itself.
        os.dup2(write, 87)
        launch = {"pass_fds": [87]}
        assert in_cell("os.fstat(87)", launch=launch) == "denied EBADF"
        changes = {"protections__close_descriptors": False}
        assert in_cell("os.fstat(87)", launch=launch, **changes) == REACHED
    finally:
        for descriptor in (read, write, 87):
            os.close(descriptor)


def test_standard_streams_are_all_it_has() -> None:
    outcome = run_python("import os; print(*sorted(map(int, os.listdir('/proc/self/fd'))))")
    # The last one is that of the listing itself.
    assert outcome.output.split() == ["0", "1", "2", "3"]
    assert run_python("import os; print(os.readlink('/proc/self/fd/0'))").output == "/dev/null\n"


def test_the_launchers_terminal() -> None:
    master, slave = os.openpty()

    def control() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    launch = {"stdin": slave, "preexec_fn": control}
    try:
        body = "open('/dev/tty')"
        assert in_cell(body, launch=launch) == "denied ENXIO"
        assert in_cell(body, launch=launch, protections__new_session=False) == REACHED
        # Not by the descriptor either: it is the terminal of another session.
        push = "fcntl.ioctl(0, 0x5412, b'x')"
        kept = {"stdin": "inherit"}
        assert in_cell(push, launch=launch, **kept) in ("denied EPERM", "denied EIO")
        acquire = "fcntl.ioctl(0, 0x540E, 0)"
        assert in_cell(acquire, launch=launch, **kept) == "denied EPERM"
        if Path("/proc/sys/dev/tty/legacy_tiocsti").read_text() == "1\n":
            assert in_cell(push, launch=launch, protections__new_session=False, **kept) == REACHED
    finally:
        os.close(master)
        os.close(slave)


def test_no_core_is_dumped() -> None:
    show = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[1])"
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # 1 and not 0: see crates/cell/src/confine.rs.
    assert run_python(show).output == f"{min(hard, 1) if hard >= 0 else 1}\n"
    assert run_python(show, protections__no_core_dumps=False).output == f"{hard}\n"


def test_sockets_are_handed_over_in_order() -> None:
    show = (
        "import os, socket\n"
        "for name in ('LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'): print(os.environ[name])\n"
        "print(os.getpid())\n"
        "for number in (3, 4): print(socket.socket(fileno=number).getsockname()[1])"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=10) as two,
    ):
        listeners = [("one", one), ("two", two)]
        spec = specification(
            *python(show),
            descriptors=[
                {"name": name, "descriptor": listener.fileno()} for name, listener in listeners
            ],
        )
        with launched(spec, pass_fds=[one.fileno(), two.fileno()]) as cell:
            assert cell.failure() is None
            assert cell.finish() == 0
        ports = [str(listener.getsockname()[1]) for _, listener in listeners]
    assert cell.output.decode().split() == ["2", "2", "one:two", "2", *ports]


def test_signals_are_as_a_new_program_expects_them() -> None:
    show = "import os; print([line for line in open('/proc/self/status') if line[:3] == 'Sig'])"

    def disturb() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

    # What Python ignores by itself: SIGPIPE and SIGXFSZ.
    quiet = run_python(show).output
    assert run_python(show, launch={"preexec_fn": disturb}).output == quiet
    assert "SigBlk:\\t0000000000000000" in quiet


def _needs_classic_ptrace() -> None:
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text() != "0\n":
        pytest.skip("Yama forbids tracing any process but one's own children")


def test_attempts_are_whole_programs() -> None:
    compile(script("pass"), "attempt", "exec")
