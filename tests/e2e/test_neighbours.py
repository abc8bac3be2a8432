"""An application that takes all it can get meets its limits, and the one beside it serves on.

How fast is measured by ``make bench-neighbours``; here it is only counted.
"""

import os
from collections.abc import Iterator

import pytest
from tests.neighbours.__main__ import summary
from tests.neighbours.scene import (
    ATTACKS,
    MEMORY,
    Latencies,
    Visitor,
    attack,
    both,
    calm,
    resources_of_loud,
)
from tests.support.up import Up
from tests.support.waiting import wait_until

from cloister.cells.cgroups.hierarchies import discover


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    host = discover()
    if os.geteuid() != 0 or host.site("memory") is None or host.site("cpu") is None:
        pytest.skip("needs root, and control groups with memory and processors")
    with both() as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_is_stopped_and_the_neighbour_serves(up: Up, name: str) -> None:
    pid = up.app("quiet").pid
    visitor = Visitor(up)
    try:
        # Returns once its limit has stopped it; a processor spinner only gives way.
        attack(up, name)
        for _ in range(50):
            visitor.ask()
        usage = resources_of_loud(up).usage
        tasks, memory = usage.tasks, usage.memory_bytes
        assert tasks is not None
        assert tasks <= 512
        assert memory is not None
        assert memory <= MEMORY << 20
        calm(up)
        assert up.curl("loud.example") == "loud"
    finally:
        visitor.close()
    assert up.app("quiet").pid == pid
    assert up.app("quiet").restarts == 0


def test_who_is_killed_again_and_again_is_slowed_down(up: Up) -> None:
    attack(up, "memory hog")
    wait_until(lambda: resources_of_loud(up).slowed, what="the hog's being slowed down", seconds=60)
    kills = resources_of_loud(up).counters.oom_kills
    told = "slowed down to 0.1 processors: its processes are killed for lack of memory again"
    assert told in up.log_path.read_text(errors="replace")
    # Slowed down, it still is what it was, and is known for it.
    wait_until(lambda: resources_of_loud(up).counters.oom_kills > kills, what="more", seconds=60)
    assert resources_of_loud(up).slowed
    assert up.curl("quiet.example") == "quiet"
    calm(up)
    # Somebody has had it begin anew.
    assert not resources_of_loud(up).slowed


def test_the_measure_would_notice_a_disturbance() -> None:
    quiet = Latencies(tuple(0.001 for _ in range(100)))
    slow = Latencies(tuple([0.001] * 98 + [0.0021] * 2))
    assert summary({"x": [(quiet, quiet)]})[1]
    assert not summary({"x": [(quiet, slow)]})[1]
