"""How often processes that say that they have done their share are followed by others."""

import itertools

from cloister.apps.relief import PAUSE, RETRY, SERVES_AT_LEAST, Reliefs


def test_each_process_serves_for_a_while() -> None:
    reliefs = Reliefs()
    assert reliefs.wait(100.0, 100.0) == SERVES_AT_LEAST
    assert reliefs.wait(101.0, 100.0) == SERVES_AT_LEAST - 1
    assert reliefs.wait(100.0 + SERVES_AT_LEAST, 100.0) == 0
    assert reliefs.wait(1000.0, 100.0) == 0


def test_between_two_there_is_a_pause_for_whoever_it_is() -> None:
    reliefs = Reliefs()
    reliefs.begun(1000.0)
    assert reliefs.wait(1000.0, 0.0) == PAUSE
    assert reliefs.wait(1000.0 + PAUSE, 0.0) == 0


def test_after_one_that_came_to_nothing_the_pause_is_long() -> None:
    reliefs = Reliefs()
    reliefs.begun(1000.0)
    reliefs.given_up(1002.0)
    assert reliefs.wait(1002.0, 0.0) == RETRY


def test_who_does_not_serve_waits_as_if_it_had_just_begun() -> None:
    assert Reliefs().wait(50.0, None) == SERVES_AT_LEAST


def test_however_often_they_say_it_there_is_one_a_second_and_each_serves_its_time() -> None:
    reliefs = Reliefs()
    ready_since = [0.0] * 20
    relieved = []
    for tick in range(1000):
        now = tick / 10
        for number, since in enumerate(ready_since):
            if reliefs.wait(now, since) == 0:
                reliefs.begun(now)
                relieved.append(now)
                ready_since[number] = now
    assert len(relieved) <= 100 / PAUSE
    assert all(after - before >= PAUSE for before, after in itertools.pairwise(relieved))
