"""Control groups of applications in groups of the operator's (NGINX Unit's `cgroup.path`)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.cells.cgroups.groups import ControlGroups
from cloister.cells.cgroups.hierarchies import Host, Site, discover
from cloister.cells.cgroups.tree import top
from cloister.model.errors import CloisterError
from cloister.model.limits import NO_LIMITS

pytestmark = pytest.mark.usefixtures("root")

NAME = f"cloister-test-{os.getpid()}"
OURS = f"operator-{os.getpid()}"


@pytest.fixture
def host() -> Host:
    found = discover()
    if not found.used:
        pytest.skip(f"no control group can be made: {found.why}")
    return found


@pytest.fixture
def groups(host: Host, tmp_path: Path) -> Iterator[ControlGroups]:
    made = ControlGroups(host, NAME, str(tmp_path / "record"))
    yield made
    made.clear()
    made.close()
    assert left(host) == []


def left(host: Host) -> list[str]:
    """What of all this is still there."""
    found: list[str] = []
    for site in host.used:
        for place in {site.folder, top(site.folder)}:
            found += [str(path) for path in Path(place).glob(f"{OURS}*")]
    return found


def sleeper(folder: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(["sleep", "600"])
    Path(folder, "cgroup.procs").write_text(str(process.pid))
    return process


@pytest.mark.parametrize("start", ["", "/"])
def test_the_group_is_in_the_operators(host: Host, groups: ControlGroups, start: str) -> None:
    group = groups.application("blog", NO_LIMITS, f"{start}{OURS}/inner")
    assert len(group.places) == len(host.used)
    for (folder, _), site in zip(group.places, host.used, strict=True):
        begin = top(site.folder) if start else site.folder
        assert folder == f"{begin.rstrip('/')}/{OURS}/inner/{NAME}-blog"
        assert Path(folder).is_dir()
    cell = group.cell()
    assert cell.folder is not None
    assert cell.folder.startswith(tuple(folder for folder, _ in group.places))
    groups.release("blog")
    assert left(host) == []


def test_whoever_else_is_in_the_operators_group_lives_on(host: Host, groups: ControlGroups) -> None:
    group = groups.application("blog", NO_LIMITS, OURS)
    ours = Path(group.places[0][0])
    stranger, own = sleeper(str(ours.parent)), sleeper(group.cell().folder or str(ours))
    try:
        groups.release("blog")
        assert own.wait(30) == -9
        assert stranger.poll() is None
        # It is somebody else's, and stays while somebody is in it.
        assert ours.parent.is_dir()
        assert not ours.exists()
    finally:
        for process in (stranger, own):
            process.kill()
            process.wait(30)
    groups.close()


def test_two_in_one_and_one_that_moves(host: Host, groups: ControlGroups) -> None:
    one = groups.application("one", NO_LIMITS, OURS)
    two = groups.application("two", NO_LIMITS, OURS)
    assert one.places != two.places
    assert groups.application("one", NO_LIMITS, OURS) is one
    moved = groups.application("one", NO_LIMITS, f"{OURS}/deeper")
    assert moved is not one
    # What was started before goes on where it is.
    assert all(Path(folder).is_dir() for folder, _ in one.places)
    back = groups.application("one", NO_LIMITS, None)
    assert OURS not in back.places[0][0]
    groups.release("one")
    assert all(Path(folder).is_dir() for folder, _ in two.places)


def test_what_a_killed_supervisor_left_there_is_found(
    host: Host, groups: ControlGroups, tmp_path: Path
) -> None:
    group = groups.application("blog", NO_LIMITS, f"/{OURS}")
    process = sleeper(group.cell().folder or group.places[0][0])
    following = ControlGroups(host, NAME, str(tmp_path / "record"))
    assert following.left_behind() == ("blog",)
    assert following.clear() == ("blog",)
    assert process.wait(30) == -9
    assert left(host) == []


def test_where_none_can_be_made_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "file").touch()
    host = Host((Site(1, frozenset({"pids"}), f"{tmp_path}/site"),), None, None)
    groups = ControlGroups(host, "node")
    with pytest.raises(CloisterError, match="no control group can be made in file/inner"):
        groups.application("blog", NO_LIMITS, "file/inner")
