"""The counters of several doors as those of one."""

import dataclasses

from cloister.door.messages import AppStatistics, Histogram, ListenerStatistics, Statistics
from cloister.door.totals import NOTHING, ended, total

FIRST = dataclasses.replace(
    NOTHING,
    generation=1,
    workers=2,
    accepted=5,
    active=2,
    outcomes={"complete": 3},
    connect=Histogram((100, 200), (1, 2, 3), 900),
    listeners=(ListenerStatistics("https", "[::]:443", 5, 2, 70, 80, {"complete": 3}),),
    apps=(AppStatistics("blog", 4, 1, 10, 20), AppStatistics("gone", 1, 0, 1, 1)),
)
SECOND = dataclasses.replace(
    NOTHING,
    generation=2,
    workers=4,
    accepted=1,
    active=1,
    outcomes={"complete": 1, "drained": 1},
    connect=Histogram((100, 200), (10, 20, 30), 9000),
    listeners=(ListenerStatistics("https", "[::]:443", 1, 1, 1, 2, {}),),
    apps=(AppStatistics("blog", 1, 1, 1, 2),),
)


def test_nothing_changes_nothing() -> None:
    assert total(NOTHING, FIRST) == FIRST
    kept = total(FIRST, dataclasses.replace(NOTHING, generation=1, workers=2))
    assert kept == FIRST


def test_numbers_add_up_by_their_keys() -> None:
    expected = Statistics(
        generation=2,
        workers=4,
        accepted=6,
        active=3,
        bytes_to_target=0,
        bytes_to_client=0,
        log_lines_lost=0,
        accept_pauses=0,
        outcomes={"complete": 4, "drained": 1},
        hello=NOTHING.hello,
        connect=Histogram((100, 200), (11, 22, 33), 9900),
        answer=NOTHING.answer,
        listeners=(ListenerStatistics("https", "[::]:443", 6, 3, 71, 82, {"complete": 3}),),
        apps=(AppStatistics("blog", 5, 2, 11, 22), AppStatistics("gone", 1, 0, 1, 1)),
    )
    assert total(FIRST, SECOND) == expected


def test_other_buckets_of_a_newer_program_replace_the_older_ones() -> None:
    newer = dataclasses.replace(SECOND, connect=Histogram((7,), (1, 2), 3))
    assert total(FIRST, newer).connect == Histogram((7,), (1, 2), 3)


def test_what_has_ended_has_nothing_open() -> None:
    after = ended(FIRST)
    assert (after.active, after.accepted) == (0, 5)
    assert [one.active for one in (*after.listeners, *after.apps)] == [0, 0, 0]
    assert after.connect == FIRST.connect
