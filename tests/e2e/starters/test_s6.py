"""`cloister generate s6`, supervised by a real s6-svscan."""

import contextlib
import grp
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.starters.conftest import Echo, ask, generate
from tests.support.processes import children
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("as_root")

REPOSITORY = Path(__file__).parents[3]


def s6(*command: str) -> str:
    """What an s6 program prints."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return result.stdout.strip()


@contextlib.contextmanager
def supervised(service: Path) -> Iterator[Path]:
    """The service in a scan folder of its own; its processes end with the scan."""
    scan = service.parents[1] / "scan"
    scan.mkdir()
    shutil.copytree(service, scan / service.name)
    process = subprocess.Popen(["s6-svscan", scan], stdin=subprocess.DEVNULL)
    try:
        yield scan / service.name
    finally:
        s6("s6-svscanctl", "-t", str(scan))
        process.wait(30)


@pytest.fixture
def service(place: Path, echo: Echo) -> Path:
    subprocess.run([REPOSITORY / "scripts/debian-packages", "s6", "execline"], check=True)
    path = str(place / "run" / "my relay.sock")
    folders = ["--folder", str(place / "s6"), "--log-folder", str(place / "log")]
    user = ["--user", "nobody", "--socket-group", "www-data"]
    generate(place, "s6", "relay", "php", echo.target, "--listen", path, *folders, *user)
    # --output put it below the place, where its own paths would be on a host.
    generated = place / str(place / "s6" / "php").lstrip("/")
    return Path(shutil.copytree(generated, place / "s6" / "php"))


def doors(service: Path) -> set[int]:
    """The doors' processes, without their keeper's."""
    keeper = int(s6("s6-svstat", "-o", "pid", str(service)))
    return children(keeper)


def test_it_is_ready_serves_and_is_replaced(service: Path, place: Path) -> None:
    path = place / "run" / "my relay.sock"
    with supervised(service) as running:
        wait_until((running / "supervise" / "control").exists, what="s6-supervise")
        s6("s6-svwait", "-t", "10000", "-U", str(running))
        assert ask(path) == b"hello"
        made = path.stat()
        assert stat.S_IMODE(made.st_mode) == 0o660
        assert (made.st_uid, made.st_gid) == (0, grp.getgrnam("www-data").gr_gid)
        (before,) = doors(running)
        assert "Uid:\t65534\t65534\t65534\t65534" in Path(f"/proc/{before}/status").read_text()

        s6("s6-svc", "-2", str(running))
        wait_until(lambda: doors(running) and before not in doors(running), what="the next door")
        assert ask(path) == b"hello"

        s6("s6-svc", "-wd", "-T", "10000", "-d", str(running))
        with pytest.raises(ConnectionRefusedError):
            ask(path)
        s6("s6-svc", "-wU", "-T", "10000", "-u", str(running))
        assert ask(path) == b"hello"


def test_only_the_group_may_connect(service: Path, place: Path) -> None:
    path = place / "run" / "my relay.sock"
    with supervised(service) as running:
        wait_until((running / "supervise" / "control").exists, what="s6-supervise")
        s6("s6-svwait", "-t", "10000", "-U", str(running))
        assert connect_as(path, "www-data") == 0
        assert connect_as(path, "nobody") == 13, "EACCES"


def connect_as(path: Path, user: str) -> int:
    """errno of connect(2) as ``user`` with its own group alone; 0 where it succeeds."""
    program = "import socket, sys; sys.exit(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"
    setting = ["setpriv", "--reuid", user, "--regid", primary_group(user), "--clear-groups"]
    command = [*setting, "/usr/bin/python3", "-c", program, str(path)]
    return subprocess.run(command, timeout=30, check=False).returncode


def primary_group(user: str) -> str:
    return str(pwd.getpwnam(user).pw_gid)


def test_a_command_line_that_cannot_be_is_no_busy_loop(service: Path) -> None:
    run = service / "run"
    run.write_text(run.read_text().replace(" relay ", " relay --no-such-option "))
    with supervised(service) as running:
        wait_until((running / "supervise" / "control").exists, what="s6-supervise")
        wait_until(
            lambda: gave_up(running),
            what="s6-supervise to give up",
        )


def gave_up(service: Path) -> bool:
    """Whether s6-supervise neither runs the service nor wants to."""
    command = ["s6-svstat", "-o", "wantedup,up", str(service)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return result.stdout.strip() == "false false"
