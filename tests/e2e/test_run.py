"""`cloister run`: real commands in real cells, as root and as an ordinary user."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sysconfig
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.waiting import wait_until

from cloister.cells.cgroups.hierarchies import discover

CLOISTER = str(Path(sysconfig.get_path("scripts")) / "cloister")
NAMESPACES = ("user", "mnt", "pid", "ipc", "uts", "cgroup", "net")
DEADLINE = 10.0


def cloister(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CLOISTER, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return cloister("run", *arguments, **options)


def shell(script: str, *options: str) -> str:
    done = run(*options, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True, scope="module")
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Identities of the tests' own, not those of a supervisor on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(tmp_path_factory.mktemp("state")))
        yield


@contextlib.contextmanager
def started(*arguments: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([CLOISTER, "run", *arguments], text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_exit_status_is_the_commands(status: int) -> None:
    assert run("--", "sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "HUP"])
def test_a_command_ended_by_a_signal_gives_128_and_its_number(name: str) -> None:
    # Of a first process in a pid namespace the kernel would ignore it: this one is not.
    number = getattr(signal, f"SIG{name}")
    assert run("--", "sh", "-c", f"kill -{name} $$").returncode == 128 + number


def test_input_output_and_errors_pass() -> None:
    done = run("--", "sh", "-c", "cat; echo oh >&2", input="hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "oh\n")


def test_it_is_somebody_else_in_namespaces_of_its_own() -> None:
    script = "id -u; id -un; hostname; for n in $0 $@; do readlink /proc/self/ns/$n; done"
    done = run("--", "sh", "-c", script, *NAMESPACES)
    uid, name, host, *inside = done.stdout.split()
    assert (uid, name, host) == ("1000", "app", "run"), done.stderr
    outside = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES]
    assert not set(inside) & set(outside)
    assert len(inside) == len(NAMESPACES)


def test_only_its_own_processes_are_there() -> None:
    pids = [entry for entry in shell("ls /proc").split() if entry.isdecimal()]
    assert len(pids) <= 3


def test_the_hosts_files_are_out_of_reach() -> None:
    done = run(
        "--", "sh", "-c", "cat /etc/shadow || ls /root || ls /home || ls /var/lib || ls /sys"
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert shell("ls -A /tmp") == ""
    assert set(shell("ls -A /").split()) <= {
        "bin",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "run",
        "sbin",
        "tmp",
        "usr",
    }


@pytest.mark.parametrize("place", ["/usr", "/etc", "/", "/etc/passwd", "/dev", "/run"])
def test_nothing_but_its_own_tmp_can_be_written(place: str) -> None:
    path = place if place == "/etc/passwd" else f"{place}/cloister-test"
    done = run("--", "sh", "-c", f"echo x > {path}")
    assert done.returncode != 0
    assert not Path("/usr/cloister-test").exists()
    assert shell("echo x > /tmp/y && cat /tmp/y") == "x\n"


def test_the_hosts_network_is_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        done = run("--", "bash", "-c", script)
        assert done.returncode != 0
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    interfaces = "import socket; print([name for _, name in socket.if_nameindex()])"
    assert run("--", "/usr/bin/python3", "-c", interfaces).stdout == "['lo']\n"


def test_abstract_sockets_of_the_host_are_out_of_reach() -> None:
    name = f"cloister-test-{os.getpid()}"
    script = (
        "import socket, sys\n"
        "try: socket.socket(socket.AF_UNIX).connect('\\0' + sys.argv[1])\n"
        "except ConnectionRefusedError: print('refused')\n"
    )
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        done = run("--", "/usr/bin/python3", "-c", script, name)
    assert done.stdout == "refused\n", done.stderr


def test_no_rights_are_left() -> None:
    status = dict(
        line.split(":\t") for line in shell("cat /proc/self/status").splitlines() if ":\t" in line
    )
    assert [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [
        "0000000000000000"
    ] * 5
    assert status["NoNewPrivs"] == "1"
    assert shell("ulimit -c") == "0\n"


def test_no_descriptor_leaks_in(tmp_path: Path) -> None:
    secret = (tmp_path / "secret").open("w+")
    with secret:
        done = run("--", "sh", "-c", "ls /proc/self/fd", pass_fds=(secret.fileno(),))
    # 3 is that of ls itself.
    assert done.stdout.split() == ["0", "1", "2", "3"]


def test_the_environment_is_made_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    variables = dict(line.split("=", 1) for line in shell("env", "--env", "A=b=c").splitlines())
    variables.pop("PWD", None)
    assert variables == {
        "A": "b=c",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "LOGNAME": "app",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "USER": "app",
    }


def test_binds_and_the_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder, data = tmp_path / "folder", tmp_path / "data"
    folder.mkdir()
    data.mkdir()
    data.chmod(0o777)
    (folder / "note").write_text("read me\n")
    options = ("--directory", str(folder), "--bind", f"{data}:/data:rw", "--bind", f"{data}:/same")
    done = run(
        *options, "--", "sh", "-c",
        "pwd; cat note; echo kept > /data/new; cat /same/new; "
        "echo x > note; echo x > /same/other; :",
    )  # fmt: skip
    assert done.stdout == f"{folder}\nread me\nkept\n"
    assert done.stderr.count("Read-only file system") == 2
    assert (data / "new").read_text() == "kept\n"
    assert sorted(entry.name for entry in data.iterdir()) == ["new"]


def test_errors_of_the_launch_say_which_step() -> None:
    done = run("--", "/no/such/program")
    assert done.returncode == 127
    assert "the cell of run could not be made" in done.stderr
    assert "No such file or directory (ENOENT)" in done.stderr
    done = run("--", "no-such-program")
    assert done.returncode == 127
    assert "no-such-program" in done.stderr
    done = run("--", "/etc/passwd")
    assert done.returncode == 126
    assert "(EACCES)" in done.stderr
    done = run("--directory", "/usr", "--bind", "/etc/hostname:/usr/no/such/place", "--", "true")
    assert done.returncode == 1
    assert "/usr/no/such/place does not exist" in done.stderr


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_signals_reach_the_command(name: str) -> None:
    script = f"trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    with started("--", "sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout.readline() == f"got {name}\n"
        assert process.wait(DEADLINE) == 7


def test_ctrl_c_on_a_terminal_ends_the_command_and_its_children() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(CLOISTER, [CLOISTER, "run", "--", "sh", "-c", "sleep 1000; echo no"])
    try:
        # Between its vfork(2) and the exec a signal for sleep is lost to the shell's handler.
        below = psutil.Process(pid)
        wait_until(
            lambda: any(child.name() == "sleep" for child in below.children(recursive=True)),
            what="asleep",
        )
        os.write(terminal, b"\x03")
        wait_until(
            lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), what="ended"
        )
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + DEADLINE
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, f"{text!r} did not come; {seen!r} did"
        try:
            seen += os.read(terminal, 4096)
        except OSError as error:  # EIO: the last process that had the terminal has ended
            raise AssertionError(f"{text!r} did not come; {seen!r} did") from error
    return seen


def test_a_command_reads_the_terminal() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(CLOISTER, [CLOISTER, "run", "--", "sh", "-c", "echo ready; read x; echo got:$x"])
    try:
        read_until(terminal, b"ready")
        os.write(terminal, b"line\n")
        read_until(terminal, b"got:line")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def on_a_terminal(*command: str) -> Iterator[tuple[int, int]]:
    """A shell with job control in a session of its own, and the terminal to type on."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "--norc", "-i", *command])
    try:
        os.write(terminal, b"PS1='pr''ompt> '\n")
        read_until(terminal, b"prompt> ")
        yield pid, terminal
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


PUSH = """
import fcntl, os, termios
print("size", *os.get_terminal_size())
print("on", os.ttyname(0) if os.path.exists(os.readlink("/proc/self/fd/0")) else "another")
try:
    for character in b"echo pushed-$((1+1))\\n":
        fcntl.ioctl(0, termios.TIOCSTI, bytes([character]))
except OSError:
    pass
print("pushed", "all")
"""


def test_the_command_has_a_terminal_of_its_own(tmp_path: Path) -> None:
    """What it pushes into that does not become the caller's next command."""
    tmp_path.chmod(0o755)
    script = tmp_path / "push.py"
    script.write_text(PUSH)
    # Without the filter of system calls, so that the terminal alone is the fence.
    options = f"--fence profile=none --bind {script}:/push.py"
    with on_a_terminal() as (_, terminal):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        os.write(terminal, f"{CLOISTER} run {options} -- /usr/bin/python3 /push.py\n".encode())
        seen = read_until(terminal, b"pushed all")
        assert b"size 77 33" in seen
        # The prompt comes after it; the resized one came before.
        if b"prompt> " not in seen.partition(b"pushed all")[2]:
            read_until(terminal, b"prompt> ")
        os.write(terminal, b'echo all-"done"\n')
        assert b"pushed-2" not in read_until(terminal, b"all-done")


def test_ctrl_z_stops_the_job_and_fg_continues_it() -> None:
    script = "echo re''ady; read line; echo got:$line"
    with on_a_terminal() as (_, terminal):
        os.write(terminal, f"{CLOISTER} run -- sh -c '{script}'\n".encode())
        read_until(terminal, b"ready")
        os.write(terminal, b"\x1a")
        assert b"Stopped" in read_until(terminal, b"prompt> ")
        # The caller's terminal is as it was. What is typed echoes with an apostrophe in it.
        os.write(terminal, b"stty -a | grep -o ' ica''non'\n")
        assert b" icanon" in read_until(terminal, b"prompt> ")
        os.write(terminal, b"fg\n")
        os.write(terminal, b"typed\n")
        assert b"got:typed" in read_until(terminal, b"prompt> ")
        os.write(terminal, b"echo status-$?\n")
        read_until(terminal, b"status-0")


def test_a_resized_terminal_is_resized_inside() -> None:
    script = "trap 'stty size; exit' WINCH; echo re''ady; while :; do sleep 0.1; done"
    with on_a_terminal() as (_, terminal):
        os.write(terminal, f'{CLOISTER} run -- sh -c "{script}"\n'.encode())
        read_until(terminal, b"ready")
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 21, 43, 0, 0))
        read_until(terminal, b"21 43")


def test_options_make_the_cell_that_they_say(as_root: None, tmp_path: Path) -> None:
    """The ids of NGINX Unit's announcement, by the command line."""
    script = "echo $$; id -u; id -g; hostname; cat /proc/self/uid_map; stat -c %a /x; ls -d /tmp"
    done = run(
        *("--no-init", "--uid", "0", "--gid", "0", "--uid-map", "0:1000:1000"),
        *("--gid-map", "0:1000:1000", "--hostname", "shop", "--tmpfs", "/x:mode=0750"),
        *("--share", "ipc", "--", "sh", "-c", script + "; readlink /proc/self/ns/ipc"),
    )
    assert done.returncode == 0, done.stderr
    *words, ipc = done.stdout.split()
    assert words == ["1", "0", "0", "shop", "0", "1000", "1000", "750", "/tmp"]
    assert ipc == str(Path("/proc/self/ns/ipc").readlink())
    done = run("--user", "root", "--", "true")
    assert done.returncode != 0
    assert "root" in done.stderr
    done = run("--uid", "0", "--uid-map", "0:0:10", "--", "true")
    assert "run-is-root-on-the-host" in done.stderr


def test_nothing_is_left_when_the_runner_is_killed() -> None:
    with started(
        "--", "sh", "-c", "echo ready; sleep 1000 & wait", stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        process.kill()
        wait_until(lambda: not any(is_alive(child) for child in below), what="gone")


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_two_at_once_are_two_users(as_root: None) -> None:
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                started("--", "sh", "-c", "echo ready; read x", stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE)
            )
            for _ in range(2)
        ]  # fmt: skip
        owners = set()
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            below = psutil.Process(process.pid).children(recursive=True)
            owners.add(below[-1].uids().real)
        assert len(owners) == 2
        assert all(500_000 < owner <= 565_535 for owner in owners)
        for process in processes:
            process.communicate("\n", timeout=DEADLINE)
            assert process.returncode == 0


def test_explain_says_what_run_does() -> None:
    done = cloister("explain", "--json", "--", "sh")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["spec"]["command"] == ["sh"]
    text = " ".join(operation["description"] for operation in value["operations"])
    assert "/usr" in text
    assert "/tmp" in text
    plain = cloister("explain", "--", "sh")
    assert plain.returncode == 0
    for operation in value["operations"]:
        assert operation["step"] in plain.stdout


def test_a_command_is_bounded(tmp_path: Path) -> None:
    if os.geteuid() != 0 or discover().site("pids") is None:
        pytest.skip("needs root, and control groups with pids")
    forks = "i=0; while [ $i -lt 30 ]; do sleep 9 & i=$((i+1)); done; echo done"
    assert shell(forks, "--limit", "pids=100") == "done\n"
    few = run("--limit", "pids=10", "--", "sh", "-c", forks)
    assert few.returncode != 0
    assert "fork" in few.stderr
    hog = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    killed = run("--limit", "memory=64M", "--limit", "swap=0", "--", "python3", "-c", hog)
    assert killed.returncode == 128 + signal.SIGKILL
    impossible = run("--limit", "cpus=4095", "--", "true")
    assert impossible.returncode == 1
    assert "cpus = 4095" in impossible.stderr
    left = [
        str(path) for site in discover().sites for path in Path(site.folder).glob("cloister-run-*")
    ]
    alive = [name for name in left if Path("/proc", name.rpartition("-")[2]).exists()]
    assert left == alive
