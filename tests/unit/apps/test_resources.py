"""How it reads when an application meets its limits."""

import pytest

from cloister.apps.resources import describe
from cloister.cells.cgroups.counters import Counters


@pytest.mark.parametrize(
    ("news", "said"),
    [
        (
            Counters(oom_kills=1),
            ["1 process killed for lack of memory: its limit `memory` is used up"],
        ),
        (
            Counters(oom_kills=2, pids_refused=7),
            [
                "2 processes killed for lack of memory: its limit `memory` is used up",
                "7 new processes refused: its limit `pids` is used up",
            ],
        ),
        (
            Counters(throttled_periods=9, throttled_seconds=0.84),
            [
                "waited for 0.8 s of processor time in 9 periods: its limit `cpu-max` is used up",
            ],
        ),
        (Counters(memory_high=1), ["1 time beyond its limit `memory-high`: slowed down"]),
        (Counters(memory_max=5), []),
    ],
)
def test_each_limit_has_its_sentence(news: Counters, said: list[str]) -> None:
    assert describe(news) == said
