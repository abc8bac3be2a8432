"""A bound on disks holds against a real kernel: ext4 and XFS with project quotas. Few kernels of
containers have them; ``make test-machine`` runs this in one that has."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import disk_attempts
from tests.support.quotas import PLAIN, disk, membership

from cloister.audit import collect
from cloister.audit.facts import BoundedDisk, Reach
from cloister.audit.reach import Reaches
from cloister.cells.quotas import helper
from cloister.cells.quotas.messages import Action, Bound, Look, Mark, Projects, Seen

pytestmark = pytest.mark.usefixtures("root")

MEGABYTE = 1 << 20
BOUND = 8 * MEGABYTE
FILES = 200
LEAVING = ("project", "flags", "unopened", "limit")
"""Attempts to get out of the bound."""
FULL = {"ext4": "EDQUOT", "xfs": "ENOSPC"}
"""XFS says of a project's bound what it says of a full disk (xfs_trans_dqresv())."""
OTHER = 499_000
PROJECTS = Projects(500_000, 565_535)


@pytest.fixture(params=["ext4", "xfs"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(kind: str, open_folder: Path) -> Iterator[Path]:
    with disk(kind, open_folder) as point:
        state = look(point)
        if not state.enforced:
            pytest.skip(f"{kind} of this kernel has no quotas of projects")
        yield point


@pytest.fixture
def data(place: Path) -> Path:
    """A folder that everybody may write to, with something in it."""
    data = place / "data"
    (data / "old" / "deep").mkdir(parents=True)
    (data / "old" / "file").write_bytes(b"x" * MEGABYTE)
    for path in (data, data / "old", data / "old" / "deep"):
        path.chmod(0o777)
    return data


def look(path: Path, project: int = 500_001) -> Seen:
    (seen,) = asyncio.run(helper.ask([Look(str(path), project)]))
    assert isinstance(seen, Seen)
    return seen


def run(
    data: Path, attempts: tuple[str, ...], *options: str, bounded: bool = True
) -> subprocess.CompletedProcess[str]:
    limits = ("--limit", "disk=8M", "--limit", f"disk-files={FILES}") if bounded else ()
    code = Path(disk_attempts.__file__)
    return subprocess.run(
        [
            *(sys.executable, "-m", "cloister", "run", *limits, *options),
            *("--bind", f"{data}:/data:rw", "--bind", f"{code}:/attempts.py", "--"),
            *("/usr/bin/python3", "-I", "/attempts.py", *attempts),
        ],
        env={**os.environ, "STATE_DIRECTORY": str(data.parent.parent / "state")},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[int, str]]:
    assert done.returncode == 0, done.stderr
    return {name: tuple(outcome) for name, outcome in json.loads(done.stdout).items()}


def test_nothing_gets_more_and_afterwards_nothing_is_bounded(data: Path, kind: str) -> None:
    # What somebody else has, and what a killed run has left.
    foreign, left = data.parent / "foreign", data.parent / "left"
    for path, project in ((foreign, 500_001), (left, 500_002)):
        path.mkdir()
        (path / "file").write_bytes(b"x" * 2 * BOUND)
        asyncio.run(helper.ask([Mark(str(path), project, PROJECTS)]))
    asyncio.run(helper.ask([Bound(str(left), 500_002, MEGABYTE, 5)]))
    state = data.parent.parent / "state"
    state.mkdir()
    record = {"run.999999999": {"project": 500_002, "places": {str(left): 0}}}
    (state / "projects.json").write_text(json.dumps(record))

    found = outcomes(run(data, tuple(disk_attempts.ATTEMPTS)))
    for attempt in ("write", "again", "allocate", "sparse", "unnamed", "inner"):
        count, error = found[attempt]
        assert error == FULL[kind], attempt
        # A megabyte was there before.
        assert BOUND // 2 < count < BOUND - MEGABYTE // 2, attempt
    for attempt in ("empty", "links"):
        count, error = found[attempt]
        assert error == FULL[kind], attempt
        assert FILES // 2 < count < FILES, attempt
    for attempt in LEAVING:
        assert found[attempt][0] == 0, found

    # Others on the disk have room all the time.
    (data.parent / "others").write_bytes(b"x" * 2 * BOUND)
    assert membership(foreign) == (500_001, True)
    for path in (data, data / "old", data / "old" / "file", data / "written", left):
        assert membership(path) == (0, False)
    for project in (500_002, 500_003):
        usage = look(data, project).usage
        assert (usage.bytes, usage.files, usage.bytes_limit, usage.files_limit) == (0, 0, 0, 0)
    assert json.loads((state / "projects.json").read_text()) == {}


def test_without_the_fences_it_gets_all_of_it_and_leaves_its_project(data: Path) -> None:
    """The same attempts: that is what bound and filter are for."""
    asyncio.run(helper.ask([Mark(str(data), OTHER, PROJECTS)]))
    open_to_all = ("--share", "user", "--fence", "profile=none")
    attempts = ("project", "flags", "allocate", "empty")
    found = outcomes(run(data, attempts, *open_to_all, bounded=False))
    assert found["project"] == found["flags"] == (1, "none")
    assert membership(data / "own")[0] == 0
    assert membership(data / "folder") == (OTHER, False)
    assert found["allocate"][0] > 2 * BOUND
    assert found["empty"][0] > 2 * FILES


@pytest.mark.parametrize("kind", ["ext4"])
def test_also_in_the_hosts_user_namespace_it_stays(data: Path) -> None:
    found = outcomes(run(data, LEAVING, "--share", "user"))
    assert all(done == 0 for done, _ in found.values()), found


def test_nothing_moves_in_from_outside_but_as_a_copy(data: Path) -> None:
    """rename(2) and link(2) across projects: EXDEV, upon which mv(1) copies."""
    asyncio.run(helper.ask([Mark(str(data), OTHER, PROJECTS)]))
    outside = data.parent / "outside"
    outside.write_text("x")
    for move in (outside.rename, (data / "linked").hardlink_to):
        with pytest.raises(OSError, match="cross-device"):
            move(data / "moved" if move == outside.rename else outside)
    subprocess.run(["mv", outside, data / "moved"], check=True)
    assert membership(data / "moved")[0] == OTHER


@pytest.mark.parametrize("kind", ["ext4"])
def test_a_mount_in_the_tree_is_a_place_of_its_own(data: Path) -> None:
    """What is mounted there is seen in the cell, and can be written to."""
    (data.parent / "more").mkdir(mode=0o777)
    (data.parent / "more").chmod(0o777)
    (data / "mounted").mkdir()
    subprocess.run(["mount", "--bind", data.parent / "more", data / "mounted"], check=True)
    try:
        # The same file system twice: one bound for both.
        found = outcomes(run(data, ("mounted",)))
        assert found["mounted"][1] == "EDQUOT"
        assert found["mounted"][0] < BOUND
    finally:
        subprocess.run(["umount", data / "mounted"], check=True)


def test_a_disk_without_them_is_named_with_its_cure(kind: str, open_folder: Path) -> None:
    with disk(kind, open_folder, options="", make=PLAIN[kind]) as point:
        data = point / "data"
        data.mkdir()
        done = run(data, ("write",))
        assert done.returncode != 0
        assert f"{data} ({kind}): quotas of projects are not on" in done.stderr
        assert "prjquota" in done.stderr
        best_effort = run(data, (), "--limit", "required=false")
        assert best_effort.returncode == 0, best_effort.stderr


@pytest.mark.parametrize("kind", ["ext4"])
def test_the_cure_of_ext4_is_one(place: Path, open_folder: Path) -> None:
    (open_folder / "x").mkdir()
    with disk("ext4", open_folder / "x", options="", make=PLAIN["ext4"]) as point:
        image = open_folder / "x" / "ext4.image"
        subprocess.run(["umount", point], check=True)
        subprocess.run(["tune2fs", "-O", "project,quota", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop,prjquota", image, point], check=True)
        assert look(point).enforced


@pytest.mark.parametrize("kind", ["ext4"])
def test_counting_alone_keeps_nobody(place: Path) -> None:
    """ext4 with the feature and without the option."""
    image = place.parent / "ext4.image"
    subprocess.run(["umount", place], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    state = look(place)
    assert (state.accounted, state.enforced) == (True, False)


def test_an_audit_knows_of_a_bound_whoever_has_set_it(place: Path) -> None:
    def reach() -> Reach:
        return Reaches(frozenset()).of(process)

    def order(*actions: Action) -> None:
        asyncio.run(helper.ask(actions))

    place.chmod(0o777)
    with subprocess.Popen(["sleep", "infinity"], user=61_301, group=61_301) as sleeping:
        try:
            (process,) = [one for one in collect.host().processes if one.pid == sleeping.pid]
            assert str(place) in reach().writable_disks
            order(Mark(str(place), OTHER, PROJECTS), Bound(str(place), OTHER, 0, FILES))
            assert str(place) in reach().writable_disks
            order(Bound(str(place), OTHER, BOUND, FILES))
            found = reach()
            assert str(place) not in found.writable_disks
            assert BoundedDisk(str(place), BOUND) in found.bounded_disks
        finally:
            sleeping.kill()
