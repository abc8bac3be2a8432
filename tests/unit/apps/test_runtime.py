"""The runtime directory and its lock."""

import os
from pathlib import Path

import pytest

from cloister.apps.runtime import RuntimeDirectory
from cloister.model.errors import CloisterError


def test_it_is_made_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "cloister"
    runtime = RuntimeDirectory(str(path))
    assert (path / "lock").read_text() == f"{os.getpid()}\n"
    runtime.close()
    runtime.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path: Path) -> None:
    runtime = RuntimeDirectory(str(tmp_path))
    (tmp_path / "other").touch()
    runtime.close()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_second_supervisor_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    first = RuntimeDirectory(str(tmp_path))
    with pytest.raises(CloisterError, match="another supervisor runs") as raised:
        RuntimeDirectory(str(tmp_path))
    assert raised.value.why == f"process {os.getpid()} holds its lock"
    first.close()
    RuntimeDirectory(str(tmp_path)).close()


def test_a_lock_that_a_killed_supervisor_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("999999999\n")
    runtime = RuntimeDirectory(str(tmp_path))
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    runtime.close()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(CloisterError, match="not safe") as raised:
        RuntimeDirectory(str(path))
    assert f"{mode:04o}" in str(raised.value.why)
    assert list(path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    os.chown(path, 54321, 54321)
    with pytest.raises(CloisterError, match="not safe"):
        RuntimeDirectory(str(path))


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("content")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").symlink_to(victim)
    with pytest.raises(CloisterError, match="cannot be used"):
        RuntimeDirectory(str(folder))
    assert victim.read_text() == "content"


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.touch()
    with pytest.raises(CloisterError):
        RuntimeDirectory(str(path))
