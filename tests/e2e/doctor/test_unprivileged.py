"""An ordinary user asks: less is seen, which is said, and what can be known is found."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from tests.support.broken import ASKER_GID, ASKER_UID, Corner
from tests.support.packages import need

import cloister

Json = dict[str, Any]


class Ordinary:
    """Runs the command as a user who may read nothing of root's."""

    def __init__(self, corner: Corner) -> None:
        need("python3")
        self._library = corner.directory("library", uid=0)
        for package in (cloister, click):
            source = Path(package.__file__).parent
            shutil.copytree(
                source,
                self._library / source.name,
                ignore=shutil.ignore_patterns("__pycache__", "*.so"),
            )

    def doctor(self, *arguments: str) -> Json:
        become = ["setpriv", f"--reuid={ASKER_UID}", f"--regid={ASKER_GID}", "--clear-groups"]
        environment = ["env", "--ignore-environment", "--chdir=/", "PATH=/usr/bin:/bin"]
        command = ["/usr/bin/python3", "-B", "-m", "cloister", "doctor", "--json", *arguments]
        done = subprocess.run(
            [*become, *environment, f"PYTHONPATH={self._library}", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode in (0, 1), done.stderr
        (diagnosis,) = json.loads(done.stdout)
        assert isinstance(diagnosis, dict)
        return diagnosis


@pytest.fixture
def ordinary(corner: Corner) -> Ordinary:
    return Ordinary(corner)


def codes(diagnosis: Json) -> list[str]:
    return [finding["code"] for finding in diagnosis["findings"]]


def test_as_oneself_the_kernel_answers(corner: Corner, ordinary: Ordinary) -> None:
    path = corner.directory("run") / "app.sock"
    corner.serve(path, umask="022")
    diagnosis = ordinary.doctor(str(path), "--as", f"{ASKER_UID}:{ASKER_GID}")
    assert codes(diagnosis) == ["socket-mode"]
    path.chmod(0o666)
    diagnosis = ordinary.doctor(str(path), "--as", f"{ASKER_UID}:{ASKER_GID}")
    assert diagnosis["outcome"] == "connected"
    assert codes(diagnosis) == []


def test_as_somebody_else_the_rules_answer(corner: Corner, ordinary: Ordinary) -> None:
    path = corner.directory("run") / "app.sock"
    corner.serve(path)
    diagnosis = ordinary.doctor(str(path), "--as", "nobody")
    assert diagnosis["outcome"] == "not tried"
    assert codes(diagnosis) == ["socket-group"]
    assert any("as another user (run as root)" in one for one in diagnosis["unseen"])


def test_a_folder_that_one_may_not_look_into(corner: Corner, ordinary: Ordinary) -> None:
    """Nothing is known of what is in it, and that is not taken for an absence."""
    folder = corner.directory("home/alice", mode=0o700)
    path = folder / "app.sock"
    corner.serve(path)
    diagnosis = ordinary.doctor(str(path), "--as", f"{ASKER_UID}:{ASKER_GID}")
    assert codes(diagnosis) == ["no-execute-bit"]
    diagnosis = ordinary.doctor(str(path), "--as", "nobody")
    assert codes(diagnosis) == ["no-execute-bit"]


def test_a_stale_socket_is_found_without_rights(corner: Corner, ordinary: Ordinary) -> None:
    path = corner.directory("run") / "app.sock"
    server = corner.serve(path, umask="000")
    server.kill()
    server.wait()
    diagnosis = ordinary.doctor(str(path), "--as", "nobody")
    assert "stale-socket" in codes(diagnosis)


def test_a_process_of_another_user_hides_its_view(corner: Corner, ordinary: Ordinary) -> None:
    path = corner.directory("run") / "app.sock"
    server = corner.serve(path, umask="000")
    diagnosis = ordinary.doctor(str(path), "--as", str(server.pid))
    assert diagnosis["outcome"] == "not tried"
    assert codes(diagnosis) == []
    assert diagnosis["unseen"]
