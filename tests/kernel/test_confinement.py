"""What a process with keys takes off itself, each beside one that has not."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.ordinary_user import need_user_namespaces

from cloister import confinement

USER = 54321
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become others")
CONFINED = """
import os, socket, sys
sys.path.insert(0, {folder!r})
import confinement
who = {user} if {root} else None
print(*confinement.confine(who, who, (), secret={secret}, file_size={size}), flush=True)
sys.stdin.readline()
try:
    socket.create_connection(("127.0.0.1", {port}), 5).close()
    print("connected")
except OSError as error:
    print(error.strerror)
sys.stdin.read()
"""


@contextmanager
def confined(
    folder: Path, *, root: bool, secret: bool, port: int = 9, size: int = 0
) -> Iterator[tuple[subprocess.Popen[str], set[str]]]:
    """A process that has confined itself, and what it says is in force."""
    if secret and not root:
        need_user_namespaces()
    source = Path(confinement.__file__).read_text()
    (folder / "confinement.py").write_text(source)
    code = CONFINED.format(
        folder=str(folder), user=USER, root=root, secret=secret, port=port, size=size
    )
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **({} if root else {"user": USER, "group": USER, "extra_groups": []}),
    ) as process:
        assert process.stdout is not None
        yield process, set(process.stdout.readline().split())
        process.kill()


def readable(pid: int) -> bool:
    """Whether its own user may read its memory."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", f"open('/proc/{pid}/mem', 'rb')"],
        user=USER,
        group=USER,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="cloister-test-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


@pytest.mark.parametrize("root", [True, False])
def test_a_secret_is_not_its_own_users_to_read(folder: Path, root: bool) -> None:
    with confined(folder, root=root, secret=True) as (process, taken):
        assert {"memory", "network", "no-new-privileges", "limits"} <= taken
        assert not readable(process.pid)
    with confined(folder, root=False, secret=False) as (process, taken):
        assert "memory" not in taken
        assert readable(process.pid)


@pytest.mark.parametrize("root", [True, False])
def test_a_process_with_a_secret_has_no_network(folder: Path, root: bool) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        for secret, said in ((True, "Network is unreachable"), (False, "connected")):
            if root and not secret:
                continue  # root's has none in any case
            with confined(folder, root=root, secret=secret, port=port) as (process, _):
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline().strip() == said


@pytest.mark.parametrize("root", [True, False])
def test_no_capability_is_left_and_ids_stay_what_they_are(folder: Path, root: bool) -> None:
    with confined(folder, root=root, secret=True) as (process, _):
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff")} == {0}
        assert set(status["Uid"].split()) == {str(USER)}
        assert set(status["Gid"].split()) == {str(USER)}
