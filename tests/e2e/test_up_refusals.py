"""What ``cloister up`` refuses, with its exit code and what it leaves: nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.up import SITES, Traces, Up, open_folder


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write({"two": SITES["two"]})
        yield running


def refused(up: Up, *arguments: str, cwd: Path | None = None) -> tuple[int, str]:
    before = Traces(up.folder, ignore=("state",))
    command = [sys.executable, "-m", "cloister", "up", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)
    assert Traces(up.folder, ignore=("state",)) == before
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_every_problem_of_a_configuration_at_once(up: Up) -> None:
    up.config.write_text('[listeners.x]\nlisten = "nowhere"\n\n[apps.y]\ncolour = "red"\n')
    code, text = refused(up, str(up.config))
    assert code == 3
    assert f"{up.config}:2 listeners.x.listen" in text
    assert f"{up.config}:5 apps.y.colour" in text


def test_no_configuration_at_all(up: Up) -> None:
    if Path("/etc/cloister/cloister.toml").exists():
        pytest.skip("this machine has a configuration of its own")
    code, text = refused(up, cwd=up.folder / "apps")
    assert code == 1
    assert "there is no configuration" in text
    assert "cloister init" in text


def test_an_address_that_is_taken(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        up.config.write_text(up.config.read_text().replace("127.0.0.1:0", address))
        code, text = refused(up, str(up.config))
    assert code == 1
    assert address in text


def test_a_runtime_directory_that_others_may_write(up: Up) -> None:
    up.runtime.mkdir(parents=True)
    up.runtime.chmod(0o777)
    code, text = refused(up, str(up.config))
    assert code == 1
    assert "is not safe" in text


def test_status_without_a_supervisor(up: Up) -> None:
    command = [sys.executable, "-m", "cloister", "status", str(up.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 69
    assert "no supervisor runs" in done.stderr
    assert "cloister up" in done.stderr


def test_code_in_the_current_folder_is_not_run(up: Up) -> None:
    trap = up.folder / "trap"
    trap.mkdir()
    for module in ("json", "asyncio", "ssl", "uvicorn"):
        (trap / f"{module}.py").write_text("raise SystemExit('foreign code runs')\n")
    up.config.write_text(up.config.read_text().replace("127.0.0.1:0", "127.0.0.1:1"))
    with socket.socket() as blocker:
        try:
            blocker.bind(("127.0.0.1", 1))
        except PermissionError:
            pytest.skip("needs the right to bind port 1")
        blocker.listen()
        cloister = Path(sys.executable).with_name("cloister")
        done = subprocess.run(
            [cloister, "up", str(up.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=trap,
            env={**os.environ},
        )
    assert "foreign code" not in done.stderr + done.stdout
    assert "127.0.0.1:1" in done.stderr
