"""How many processes a load asks for."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.apps.machine import State
from cloister.apps.scale import Change, Worker, decide
from cloister.model.lifecycle import Processes

POLICY = Processes(most=4, spare=1, idle_timeout=15)
RESTS = Worker(State.DORMANT)
BUSY = Worker(State.READY, load=1)


def idle(seconds: float = 0) -> Worker:
    return Worker(State.READY, idle_for=seconds)


def test_the_spare_ones_are_there_before_anybody_comes() -> None:
    assert decide(POLICY, [RESTS] * 4, 0) == Change(demanded=(0,))
    assert decide(Processes(4, 2), [RESTS] * 4, 0) == Change(demanded=(0, 1))
    assert decide(POLICY, [idle(), RESTS, RESTS, RESTS], 0) == Change()


def test_without_spare_ones_the_first_connection_has_one_made() -> None:
    policy = Processes(4, 0)
    assert decide(policy, [RESTS] * 4, 0) == Change()
    assert decide(policy, [RESTS] * 4, 1) == Change(demanded=(0,))
    assert decide(policy, [Worker(State.STARTING), RESTS, RESTS, RESTS], 1) == Change()


def test_a_busy_one_is_no_spare_one() -> None:
    assert decide(POLICY, [BUSY, RESTS, RESTS, RESTS], 0) == Change(demanded=(1,))


def test_more_to_do_than_processes_has_one_made() -> None:
    policy = Processes(4, 0)
    assert decide(policy, [Worker(State.READY, load=2), RESTS, RESTS, RESTS], 0) == Change((1,))
    assert decide(policy, [BUSY, RESTS, RESTS, RESTS], 1) == Change(demanded=(1,))
    assert decide(policy, [BUSY, RESTS, RESTS, RESTS], 0) == Change()


def test_the_longest_idle_ones_beyond_the_spare_ones_end() -> None:
    workers = [idle(16), idle(30), idle(20), idle(1)]
    assert decide(POLICY, workers, 0) == Change(resting=(1, 2, 0))
    assert decide(Processes(4, 2, 15), workers, 0) == Change(resting=(1, 2))


def test_what_was_made_for_a_load_stays_while_that_lasts() -> None:
    """Although one process alone may have taken all of it."""
    laden = Worker(State.READY, load=6)
    assert decide(POLICY, [laden, idle(100), idle(100), idle(100)], 0) == Change()
    laden = Worker(State.READY, load=3)
    assert decide(POLICY, [laden, idle(99), idle(100), idle(98)], 0) == Change(resting=(2,))


def test_nobody_ends_while_somebody_waits() -> None:
    assert decide(POLICY, [idle(100), idle(100), RESTS, RESTS], 1) == Change()


def test_one_that_rests_is_preferred_to_one_on_its_way_out() -> None:
    workers = [Worker(State.RETIRING), RESTS, BUSY, BUSY]
    assert decide(POLICY, workers, 0) == Change(demanded=(1,))
    assert decide(POLICY, [Worker(State.RETIRING), BUSY], 0) == Change(demanded=(0,))


def test_one_that_failed_for_good_is_not_asked() -> None:
    workers = [Worker(State.FAILED), Worker(State.ENDED), Worker(State.STOPPED)]
    assert decide(Processes(3, 3), workers, 5) == Change()


@st.composite
def situations(draw: st.DrawFn) -> tuple[Processes, list[Worker], int]:
    most = draw(st.integers(1, 6))
    policy = Processes(most, draw(st.integers(0, most)), draw(st.floats(0, 20)))
    workers = draw(
        st.lists(
            st.builds(
                Worker, st.sampled_from(State), st.integers(0, 3), st.floats(0, 100, width=16)
            ),
            min_size=most,
            max_size=most,
        )
    )
    return policy, workers, draw(st.integers(0, 5))


@given(situations())
def test_in_every_situation(situation: tuple[Processes, list[Worker], int]) -> None:
    policy, workers, waiting = situation
    change = decide(policy, workers, waiting)
    assert not (change.demanded and change.resting)
    if change.resting:  # and who has gone is not called back at once
        left = [
            Worker(State.DORMANT) if place in change.resting else worker
            for place, worker in enumerate(workers)
        ]
        assert not decide(policy, left, waiting).demanded
    assert all(workers[place].state in (State.DORMANT, State.RETIRING) for place in change.demanded)
    for place in change.resting:
        worker = workers[place]
        assert worker.state is State.READY
        assert not worker.load
        assert worker.idle_for >= policy.idle_timeout
    ready = sum(worker.state is State.READY for worker in workers)
    assert ready - len(change.resting) >= min(ready, policy.spare or 0)
    # Whoever waits is served by somebody who is there, or comes, unless all have failed.
    free = any(worker.state in (State.DORMANT, State.RETIRING) for worker in workers)
    nobody = all(
        worker.state in (State.DORMANT, State.RETIRING, State.STOPPED) for worker in workers
    )
    if waiting and free and nobody:
        assert change.demanded
