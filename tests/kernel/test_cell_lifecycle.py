"""How cells end, and that nothing is left of them."""

import contextlib
import fcntl
import os
import shutil
import signal
import statistics
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import pytest
from tests.support.cell_spec import (
    HOST_ID,
    Cell,
    children,
    launched,
    python,
    run,
    run_python,
    specification,
    status_field,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("root")

SPAWNS = 100
PRINTING = """
import os, signal, sys
names = sys.argv[1:]
def show(number, frame):
    os.write(1, signal.Signals(number).name.encode() + b"\\n")
for name in names:
    signal.signal(signal.Signals[name], show)
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""
FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT", "SIGWINCH")


def line(cell: Cell) -> str:
    assert cell.process.stdout is not None
    return cell.process.stdout.readline().decode().strip()


def is_stopped(pid: int) -> bool:
    return status_field(pid, "State").startswith("T")


def has_one_child(pid: int) -> bool:
    return len(children(pid)) == 1


def open_descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208


def cell_processes() -> list[str]:
    """All processes on the host that belong to the cell's user, the launcher included.

    Not those that have ended: whose launcher was killed, the host's init reaps in its time.
    """
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            # Between two looks it may end.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pid = int(folder.name)
                own = status_field(pid, "Uid").split()[0] == str(HOST_ID)
                if own and not status_field(pid, "State").startswith("Z"):
                    found.append((folder / "cmdline").read_text())
    return found


def await_none() -> None:
    """Waits until the cells of the tests before are gone: a killed launcher waits for none."""
    wait_until(lambda: cell_processes() == [], what="no process of the cell")


@pytest.mark.parametrize("code", [0, 1, 3, 125, 126, 127, 255])
def test_exit_codes(code: int) -> None:
    outcome = run(specification("sh", "-c", f"exit {code}"))
    assert (outcome.status, outcome.failure) == (code, None)


@pytest.mark.parametrize(
    "number",
    [signal.SIGHUP, signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGTERM],
)
@pytest.mark.parametrize("pid_namespace", [True, False])
def test_ends_by_signal(number: signal.Signals, pid_namespace: bool) -> None:
    spec = specification("sh", "-c", f"kill -{int(number)} $$", namespaces__pid=pid_namespace)
    assert run(spec).status == -number


@pytest.mark.parametrize("name", FORWARDED)
def test_signals_are_forwarded(name: str) -> None:
    with launched(specification(*python(PRINTING), name)) as cell:
        assert cell.failure() is None
        assert line(cell) == "ready"
        cell.process.send_signal(signal.Signals[name])
        assert line(cell) == name
        # Those for init are the application's too.
        os.kill(cell.init(), signal.Signals[name])
        assert line(cell) == name


def test_it_stops_and_goes_on() -> None:
    with launched(specification(*python(PRINTING), "SIGUSR1", "SIGCONT")) as cell:
        assert cell.failure() is None
        assert line(cell) == "ready"
        application = cell.application()
        cell.process.send_signal(signal.SIGTSTP)
        for pid in (cell.pid, application):
            wait_until(partial(is_stopped, pid), what="the stop")
        cell.process.send_signal(signal.SIGCONT)
        assert line(cell) == "SIGCONT"
        cell.process.send_signal(signal.SIGUSR1)
        assert line(cell) == "SIGUSR1"


def test_what_the_terminal_sends_comes_once() -> None:
    master, slave = os.openpty()

    def control() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    try:
        for new_session in (False, True):
            spec = specification(
                *python(PRINTING),
                "SIGINT",
                "SIGUSR1",
                stdin="inherit",
                protections__new_session=new_session,
            )
            with launched(spec, stdin=slave, preexec_fn=control) as cell:
                assert cell.failure() is None
                assert line(cell) == "ready"
                # Control-C at the terminal.
                os.write(master, b"\x03")
                assert line(cell) == "SIGINT"
                cell.process.send_signal(signal.SIGUSR1)
                assert line(cell) == "SIGUSR1"
    finally:
        os.close(master)
        os.close(slave)


def test_orphans_are_reaped() -> None:
    script = (
        "import os, time\n"
        "for _ in range(50):\n"
        "    if not os.fork():\n"
        "        if not os.fork(): os._exit(0)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "print('made', flush=True)\n"
        "time.sleep(60)"
    )
    for pid_namespace in (True, False):
        spec = specification(*python(script), namespaces__pid=pid_namespace)
        with launched(spec) as cell:
            assert cell.failure() is None
            assert line(cell) == "made"
            init = cell.init()
            wait_until(partial(has_one_child, init), what="one child of init")


def test_what_the_application_leaves_behind_ends_with_it() -> None:
    await_none()
    script = "import os, time\nif os.fork(): os._exit(4)\nos.setsid(); time.sleep(60)"
    assert run_python(script).status == 4
    assert cell_processes() == []


@pytest.mark.parametrize("pid_namespace", [True, False])
@pytest.mark.parametrize("victim", ["launcher", "init"])
def test_the_cell_ends_with_launcher_and_init(victim: str, pid_namespace: bool) -> None:
    with launched(specification("sleep", "60", namespaces__pid=pid_namespace)) as cell:
        assert cell.failure() is None
        pid = cell.pid if victim == "launcher" else cell.init()
        os.kill(pid, signal.SIGKILL)
        assert cell.finish() == -signal.SIGKILL
        await_none()


def test_the_cell_ends_with_the_launcher_even_when_init_is_stopped() -> None:
    # Init cannot see that the line to the launcher has ended: the kernel must end it.
    with launched(specification("sleep", "60")) as cell:
        assert cell.failure() is None
        init = cell.init()
        os.kill(init, signal.SIGSTOP)
        wait_until(partial(is_stopped, init), what="the stop")
        os.kill(cell.pid, signal.SIGKILL)
        assert cell.finish() == -signal.SIGKILL
        await_none()


def test_it_ends_with_its_parent() -> None:
    for option, survives in ((["--die-with-parent"], False), ([], True)):
        # A parent in between, which is then killed.
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from tests.support.cell_spec import *\n"
            f"with launched(specification('sleep', '60'), *{option!r}) as cell:\n"
            "    assert cell.failure() is None\n"
            "    print(cell.pid, flush=True)\n"
            "    cell.finish(60)\n"
        )
        folder = Path(__file__).parents[2]
        parent = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        cell = int(parent.stdout.readline())
        parent.kill()
        parent.communicate()
        if survives:
            assert "sleep" in "".join(cell_processes())
            os.kill(cell, signal.SIGKILL)
        await_none()


def test_nothing_is_left_after_a_hundred_cells() -> None:
    await_none()
    mounts = Path("/proc/self/mountinfo").read_text()
    descriptors = open_descriptors()
    spec = specification("true")
    times = []
    for _ in range(SPAWNS):
        start = time.perf_counter()
        outcome = run(spec)
        times.append(time.perf_counter() - start)
        assert (outcome.status, outcome.failure) == (0, None)
    assert cell_processes() == []
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert open_descriptors() == descriptors
    print(f"cloister-cell: {statistics.median(times) * 1000:.1f} ms for a default cell")
    if bubblewrap := shutil.which("bwrap"):
        times = [_spawn_bubblewrap(bubblewrap) for _ in range(20)]
        print(f"bubblewrap: {statistics.median(times) * 1000:.1f} ms with the same namespaces")


def _spawn_bubblewrap(program: str) -> float:
    command = [program, "--unshare-all", "--uid", "1000", "--gid", "1000", "--new-session"]
    command += ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink"]
    command += ["usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--tmpfs", "/tmp"]
    command += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/", "--", "/usr/bin/true"]
    start = time.perf_counter()
    subprocess.run(command, check=False, capture_output=True)
    return time.perf_counter() - start


def test_those_that_stay_are_small() -> None:
    with launched(specification("sleep", "60")) as cell:
        assert cell.failure() is None
        for pid in (cell.pid, cell.init()):
            # Private memory; the program's text is shared by all cells.
            assert int(status_field(pid, "RssAnon").split()[0]) <= 512
