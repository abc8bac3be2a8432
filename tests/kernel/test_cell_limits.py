"""Limits bite, inside their own group only: with whatever control groups this machine has."""

import pytest
from tests.support.limited import SCENES, MissingFeatureError, play

from cloister.cells.cgroups.hierarchies import discover

pytestmark = pytest.mark.usefixtures("root")

NEEDED = {
    "disks": "io",
    "slow_disk": "io",
    "weighing_disks": "io",
    "memory": "memory",
    "pids": "pids",
    "processors": "cpu",
    "weighing": "cpu",
    "braking": "cpu",
    "own_group": "cpu",
}


@pytest.mark.parametrize("scene", SCENES)
def test_limits(scene: str) -> None:
    host = discover()
    for controller in (NEEDED.get(scene, "pids"), "pids"):
        if host.site(controller) is None:
            pytest.skip(f"no groups with the controller {controller} can be made: {host.why}")
    try:
        play(scene)
    except MissingFeatureError as missing:
        pytest.skip(str(missing))
