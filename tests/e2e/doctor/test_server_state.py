"""What is wrong at the server's end, or with the path itself."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.broken import (
    SERVER_GID,
    SERVER_UID,
    Corner,
    codes,
    cure,
    examine,
    stopped,
)
from tests.support.waiting import wait_until

from cloister.model.finding import Confidence, Outcome


@pytest.fixture
def path(corner: Corner) -> Path:
    return corner.directory("run", mode=0o777) / "app.sock"


def end(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()


def test_a_socket_that_its_dead_server_left(corner: Corner, path: Path) -> None:
    end(corner.serve(path))
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["stale-socket"]
    assert diagnosis.error == "111: Connection refused"
    with pytest.raises(AssertionError):
        corner.serve(path)  # it cannot bind the name again
    cure(diagnosis.findings[0])
    corner.serve(path)
    assert examine(path, who).healthy


def test_a_stale_socket_behind_a_closed_directory(corner: Corner) -> None:
    """Both are named, though the kernel tells the asker of the first only."""
    folder = corner.directory("home/alice", mode=0o700)
    path = folder / "app.sock"
    end(corner.serve(path))
    diagnosis = examine(path, corner.asker())
    assert codes(diagnosis) == ["no-execute-bit", "stale-socket"]


def test_a_socket_that_nobody_listens_on_yet(corner: Corner, path: Path) -> None:
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]);"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(path)]
    server = corner.start(*command, uid=SERVER_UID, gid=SERVER_GID, ready=True)
    path.chmod(0o666)
    diagnosis = examine(path, corner.asker())
    assert codes(diagnosis) == ["not-listening"]
    assert f"process {server.pid}" in diagnosis.findings[0].seen


def test_no_socket_but_one_with_a_name_like_it(corner: Corner, path: Path) -> None:
    corner.serve(path)
    who = corner.asker()
    wrong = path.with_name("ap.sock")
    diagnosis = examine(wrong, who)
    assert codes(diagnosis) == ["no-socket"]
    assert str(path) in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert examine(wrong, who).healthy


def test_no_socket_and_none_like_it(corner: Corner, path: Path) -> None:
    diagnosis = examine(f"{path}x/y/z", corner.asker())
    assert codes(diagnosis) == ["no-socket"]
    assert diagnosis.findings[0].cure is None


def test_a_link_that_leads_nowhere(corner: Corner, path: Path) -> None:
    corner.serve(path)
    link = path.with_name("current.sock")
    link.symlink_to(path.with_name("app.sock.old"))
    who = corner.asker()
    diagnosis = examine(link, who)
    assert codes(diagnosis) == ["no-socket"]
    assert "symbolic link" in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert examine(link, who).healthy


def test_links_in_a_circle(corner: Corner, path: Path) -> None:
    one, other = path.with_name("one.sock"), path.with_name("other.sock")
    one.symlink_to(other)
    other.symlink_to(one)
    assert codes(examine(one, corner.asker())) == ["link-loop"]


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_something_else_has_the_name(corner: Corner, path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    else:
        path.write_text("kept\n")
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["not-a-socket"]
    assert kind in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert Path(f"{path}.away").exists()
    corner.serve(path)
    assert examine(path, who).healthy


_TWO_TYPES = """
import os, socket, sys
os.umask(0o007)
kept = []
for path, kind in ((sys.argv[2], int(sys.argv[1])), (sys.argv[3], socket.SOCK_STREAM)):
    kept.append(socket.socket(socket.AF_UNIX, kind))
    kept[-1].bind(path)
    if kind != socket.SOCK_DGRAM:
        kept[-1].listen(16)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["datagram", "seqpacket"])
def test_a_socket_of_another_type(corner: Corner, path: Path, kind: str) -> None:
    """The same server has a stream socket: the name is wrong, not the server."""
    number = "2" if kind == "datagram" else "5"
    command = [sys.executable, "-I", "-S", "-c", _TWO_TYPES, number, str(path), f"{path}.http"]
    corner.start(*command, uid=SERVER_UID, gid=SERVER_GID, ready=True)
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["wrong-type"]
    assert f"a {kind} socket" in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


def fill(path: Path) -> list[socket.socket]:
    """Connects until the queue is full."""
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            client.connect(str(path))
        except BlockingIOError:
            client.close()
            return waiting
        waiting.append(client)


def test_a_full_queue_of_a_stopped_server(corner: Corner, path: Path) -> None:
    server = corner.serve(path, backlog=2)
    who = corner.asker()
    with stopped(server):
        clients = fill(path)
        diagnosis = examine(path, who)
        assert codes(diagnosis) == ["full-backlog"]
        assert diagnosis.error == "11: Resource temporarily unavailable"
        for client in clients:
            client.close()
        cure(diagnosis.findings[0])
        wait_until(lambda: examine(path, who).healthy, what="a server that goes on")


def test_a_full_queue_of_a_server_that_hangs(corner: Corner, path: Path) -> None:
    server = corner.serve(path, backlog=2, accept=False)
    clients = fill(path)
    diagnosis = examine(path, corner.asker())
    assert codes(diagnosis) == ["full-backlog"]
    assert "3 wait, 2 may" in diagnosis.findings[0].seen
    assert f"kill {server.pid}" in (diagnosis.findings[0].cure or "")
    for client in clients:
        client.close()


def test_two_servers_of_one_path(corner: Corner, path: Path) -> None:
    first = corner.serve(path)
    path.unlink()  # as many servers do before they bind
    corner.serve(path)
    who = corner.asker()
    diagnosis = examine(path, who)
    assert diagnosis.outcome is Outcome.CONNECTED
    assert codes(diagnosis) == ["second-listener"]
    assert f"process {first.pid}" in diagnosis.findings[0].seen
    reaper = threading.Thread(target=first.wait)  # a zombie has not ended for kill(1)
    reaper.start()
    cure(diagnosis.findings[0])
    reaper.join(10)
    assert first.returncode is not None
    assert examine(path, who).healthy


def test_a_path_that_no_address_holds(corner: Corner) -> None:
    folder = corner.directory("x" * 60 + "/" + "y" * 60)
    path = folder / "app.sock"
    corner.serve("app.sock", before=["env", f"--chdir={folder}"])
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["path-too-long"]
    finding = diagnosis.findings[0]
    short = finding.why.rpartition(" ")[2]
    try:
        cure(finding)
        assert examine(short, who).healthy
    finally:
        Path(short).parent.unlink()


_GREEDY = """
import os, resource, socket, sys
listening = socket.socket(socket.AF_UNIX)
os.umask(7)
listening.bind(sys.argv[1])
listening.listen(16)
kept = []
while True:
    try:
        kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        break
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_server_without_a_descriptor_left(corner: Corner, path: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c", _GREEDY, str(path)]
    limited = ["prlimit", "--nofile=64:8192"]
    server = corner.start(*command, uid=SERVER_UID, gid=SERVER_GID, before=limited, ready=True)
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["open-files"]
    assert "64 files open" in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    limits = Path(f"/proc/{server.pid}/limits").read_text().split("Max open files")[1].split()
    assert limits[:2] == ["4096", "8192"]
    assert examine(path, who).healthy


def test_a_user_without_a_process_left(corner: Corner, path: Path) -> None:
    # A user of its own: the limit counts all of a user's threads.
    corner.serve(path, uid=71003, before=["prlimit", "--nproc=1:"])
    who = corner.asker()
    diagnosis = examine(path, who)
    assert codes(diagnosis) == ["process-limit"]
    cure(diagnosis.findings[0])
    assert examine(path, who).healthy


def test_a_control_group_without_a_task_left(corner: Corner, path: Path) -> None:
    base = Path("/sys/fs/cgroup/pids")
    if not base.is_dir():
        pytest.skip("needs the pids controller of cgroup v1")
    own = next(
        line.split(":", 2)[2]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if line.split(":")[1] == "pids"
    )
    group = Path(f"{base}{own}") / f"cloister-doctor-{os.getpid()}"
    group.mkdir()
    try:
        server = corner.serve(path)
        (group / "cgroup.procs").write_text(str(server.pid))
        (group / "pids.max").write_text("1")
        who = corner.asker()
        diagnosis = examine(path, who)
        assert codes(diagnosis) == ["process-limit"]
        assert diagnosis.findings[0].confidence is Confidence.CERTAIN
        cure(diagnosis.findings[0])
        assert examine(path, who).healthy
        end(server)
    finally:
        group.rmdir()


def test_nothing_on_an_abstract_name(corner: Corner) -> None:
    assert codes(examine("@cloister-doctor-nobody", corner.asker())) == ["no-listener"]


def test_a_port_that_another_address_has(corner: Corner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        who = corner.asker()
        assert examine(f"127.0.0.1:{port}", who).healthy
        assert examine(f"localhost:{port}", who).healthy
        diagnosis = examine(f"127.0.0.2:{port}", who)
    assert codes(diagnosis) == ["other-address"]
    assert f"127.0.0.1:{port}" in diagnosis.findings[0].seen
    assert codes(examine(f"127.0.0.1:{port}", who)) == ["no-listener"]
