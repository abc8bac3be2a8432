"""Unit's status from Cloister's."""

from dataclasses import replace

from tests.unit.control.test_api import BLOG, STATUS

from cloister.apps.status import ProcessStatus, Traffic
from cloister.control.unit_status import unit_status


def process(state: str, requests: int | None) -> ProcessStatus:
    return ProcessStatus(state, 1.0, 7, 0, requests)


def test_connections() -> None:
    status = replace(STATUS, door=replace(STATUS.door, accepted=10, active=3))
    assert unit_status(status, {})["connections"] == {
        "accepted": 10,
        "active": 3,
        "idle": 0,
        "closed": 7,
    }
    gone = replace(STATUS, door=replace(STATUS.door, accepted=None, active=None))
    assert unit_status(gone, {})["connections"]["closed"] == 0


def test_applications_by_their_names_in_the_configuration() -> None:
    telling = replace(
        BLOG,
        name="my-app",
        processes=(process("ready", 2), process("ready", 0), process("starting", None)),
    )
    silent = replace(
        BLOG, name="two-a", traffic=Traffic(5, 1, 0, 0), processes=(process("ready", None),)
    )
    idle = replace(silent, name="two-b", traffic=Traffic(5, 0, 0, 0))
    status = replace(STATUS, apps=(telling, silent, idle))
    served = {"My App": ("my-app",), "two": ("two-a", "two-b"), "rests": ("two-b",), "new": ("x",)}
    found = unit_status(status, served)["applications"]
    assert found["My App"] == {
        "processes": {"running": 2, "starting": 1, "idle": 1},
        "requests": {"active": 2},
    }
    assert found["two"] == {
        "processes": {"running": 2, "starting": 0, "idle": 0},
        "requests": {"active": 1},
    }
    assert found["rests"]["processes"]["idle"] == 1
    assert found["new"]["processes"] == {"running": 0, "starting": 0, "idle": 0}
