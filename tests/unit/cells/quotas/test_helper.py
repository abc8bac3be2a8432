"""``cloister-cell disk``, asked for real; what it may not do here is in ``tests/kernel``."""

import asyncio
import os
from pathlib import Path

import pytest

from cloister.cells.quotas.helper import ask
from cloister.cells.quotas.messages import Bound, Kind, Look, Seen
from cloister.model.errors import CloisterError


def look(path: Path) -> Seen:
    (seen,) = asyncio.run(ask([Look(str(path), 900_501)]))
    assert isinstance(seen, Seen)
    return seen


def test_each_kind_of_place_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    assert look(tmp_path).kind is Kind.FOLDER
    assert look(tmp_path / "file").kind is Kind.FILE
    # Nobody reads it: to open it would take for ever.
    assert look(tmp_path / "pipe").kind is Kind.OTHER
    assert look(Path("/dev/null")).kind is Kind.OTHER
    found = tmp_path.stat()
    assert (look(tmp_path).device, look(tmp_path).inode) == (found.st_dev, found.st_ino)


def test_memory_has_no_quotas_of_projects(tmp_path: Path) -> None:
    seen = look(Path("/dev/shm"))
    assert (seen.accounted, seen.enforced) == (False, False)
    assert seen.refusal != 0
    with pytest.raises(CloisterError, match="bound what project 900501 may have there"):
        asyncio.run(ask([Bound("/dev/shm", 900_501, 1, 1)]))


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CloisterError) as caught:
        look(tmp_path / "none")
    assert str(tmp_path / "none") in (caught.value.why or "")


def test_nothing_is_asked_for_nothing() -> None:
    assert asyncio.run(ask([], program="/no/such/program")) == ()


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("echo '{}'", "answer"),
        ("echo out of order >&2; exit 2", "out of order"),
        ("exit 0", "early"),
    ],
)
def test_a_program_that_answers_otherwise_is_named(tmp_path: Path, script: str, word: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(CloisterError) as caught:
        asyncio.run(ask([Look("/", 1)], program=str(program)))
    assert word in (caught.value.why or "")
    assert "of the same version" in (caught.value.hint or "")


def test_who_gives_up_ends_it(tmp_path: Path) -> None:
    program = tmp_path / "program"
    os.mkfifo(tmp_path / "pid")
    program.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    program.chmod(0o755)

    async def give_up() -> int:
        asking = asyncio.create_task(ask([Look("/", 1)], program=str(program)))
        pid = await asyncio.to_thread((tmp_path / "pid").read_text)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return int(pid)

    assert not Path("/proc", str(asyncio.run(give_up()))).exists()
