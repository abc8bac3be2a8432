"""Limits by control groups of version 2, all controllers in force: ``make test-cgroup2``.

In an emulated machine with a real systemd, since this one's controllers may be of version 1.
The scenes are those of ``tests/kernel/test_cell_limits.py``.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import limited, packages
from tests.support.guest import PACKAGES, REPOSITORY, Guest, image

from cloister.cells import programs

# Emulated: each step takes many times longer than on a processor.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PLACES = "--setenv=PYTHONPATH=/mnt --setenv=PATH=/mnt/bin:/usr/sbin:/usr/bin --setenv=CELL_SLOW=1"
RUN = f"systemd-run --quiet --pipe --wait --collect {PLACES}"
PLAY = "python3 -B -m tests.support.limited"
FIND = (
    "python3 -B -c 'from cloister.cells.cgroups.hierarchies import discover as d;"
    " h = d(); print(len(h.sites), h.why, h.hint)'"
)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine with version 2 alone, and this checkout's code in it."""
    packages.need(*PACKAGES)
    folder = tmp_path_factory.mktemp("cgroup2")
    payload = folder / "payload"
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "src" / "cloister", payload / "cloister", ignore=leave_out)
    (payload / "tests" / "support").mkdir(parents=True)
    source = Path(limited.__file__)
    shutil.copy(source, payload / "tests" / "support" / source.name)
    (payload / "bin").mkdir()
    shutil.copy(programs.find("cloister-cell"), payload / "bin")
    # `selinux=0` is not in this kernel; another major module, which is switched off, keeps it out.
    kernel = "systemd.unified_cgroup_hierarchy=1 security=apparmor apparmor=0"
    with Guest(image(), kernel, payload, folder) as machine:
        offered = machine.check("cat /sys/fs/cgroup/cgroup.controllers").split()
        assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(offered)
        machine.check("modprobe bfq")
        yield machine


@pytest.mark.parametrize("scene", [*limited.SCENES, *limited.VERSION_2])
def test_by_root_in_a_delegated_unit(guest: Guest, scene: str) -> None:
    said = guest.check(f"{RUN} -p Delegate=yes {PLAY} {scene}", limit=600)
    assert '"missing":' not in said, "this machine has everything"


@pytest.mark.parametrize("scene", ["memory", "pids", "processors", "killing"])
def test_by_an_ordinary_user_in_a_delegated_unit(guest: Guest, scene: str) -> None:
    guest.check(f"{RUN} -p Delegate=yes -p User=daemon {PLAY} {scene}", limit=600)


def test_a_unit_that_was_not_delegated_is_left_alone(guest: Guest) -> None:
    answer = guest.check(f"{RUN} {FIND}")
    assert answer.startswith("0 systemd has delegated no control group"), answer
    assert "Delegate=yes" in answer
    # A group that nobody delegated has none of ours in it.
    assert guest.check("find /sys/fs/cgroup -name 'cloister*' | wc -l").strip() == "0"


def test_the_systems_own_supervisor_moves_out_of_the_way(guest: Guest) -> None:
    """A group that controls others may hold no process: the one that asks makes a place for
    itself, and systemd does not mind."""
    script = (
        f"{RUN} -p Delegate=yes sh -c '{PLAY} entering && cat /proc/self/cgroup'"
        " && systemctl is-system-running --wait"
    )
    guest.run(script, limit=600)
    assert "failed" not in guest.check("systemctl --failed --no-legend | cat")
