"""What belongs to a former application's id is found: real processes, files, System V objects."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cloister.cells.leftovers import find

pytestmark = pytest.mark.usefixtures("root")

FORMER = 487_021
NOBODY_ELSE = 487_022
LIBC = ctypes.CDLL(None, use_errno=True)
IPC_RMID = 0


def test_nothing_belongs_to_an_id_that_was_never_used(open_folder: Path) -> None:
    assert find(NOBODY_ELSE, [str(open_folder)]) == ()


def test_a_process(open_folder: Path) -> None:
    with subprocess.Popen(["sleep", "600"], user=FORMER, group=FORMER, extra_groups=[]) as left:
        try:
            assert find(FORMER, [str(open_folder)]) == (f"process {left.pid} (sleep)",)
            assert find(NOBODY_ELSE) == ()
        finally:
            left.kill()


def test_files_where_it_could_write(open_folder: Path) -> None:
    inner = open_folder / "inner"
    inner.mkdir()
    file = inner / "file"
    file.touch()
    link = inner / "link"
    link.symlink_to("/etc/passwd")
    for path in (file, link):
        os.chown(path, FORMER, FORMER, follow_symlinks=False)
    assert set(find(FORMER, [str(open_folder)])) == {str(file), str(link)}
    shutil.rmtree(inner)
    assert find(FORMER, [str(open_folder)]) == ()


def test_not_more_is_named_than_somebody_reads(open_folder: Path) -> None:
    for number in range(40):
        path = open_folder / str(number)
        path.touch()
        os.chown(path, FORMER, FORMER)
    assert len(find(FORMER, [str(open_folder)])) == 10


def test_shared_memory() -> None:
    made = subprocess.run(
        ["python3", "-c", "import ctypes; print(ctypes.CDLL(None).shmget(0, 4096, 0o1600))"],
        user=FORMER,
        group=FORMER,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
    )
    number = int(made.stdout)
    assert number >= 0
    try:
        assert find(FORMER) == (f"shared memory {number}",)
    finally:
        LIBC.shmctl(number, IPC_RMID, None)
    assert find(FORMER) == ()
