"""Pauses between restarts."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.apps.backoff import Backoff, BackoffPolicy, FailureRecord

POLICY = BackoffPolicy(
    first_pause=1, factor=2, longest_pause=10, jitter=0.5, stable_after=60, give_up_after=8
)


def pauses(backoff: Backoff, count: int, chance: float = 0.0) -> list[float | None]:
    found = []
    for _ in range(count):
        backoff, pause = backoff.failed(now=0.0, ready_since=None, chance=chance)
        found.append(pause)
    return found


def test_at_once_then_longer_and_longer_then_never() -> None:
    assert pauses(Backoff(POLICY), 9) == [0, 1, 2, 4, 8, 10, 10, None, None]


def test_only_failures_within_the_window_count() -> None:
    policy = BackoffPolicy(give_up_after=3, window=10, stable_after=1000)
    backoff = Backoff(policy)
    for now in (0.0, 5.0, 11.0, 16.0, 22.0):
        backoff, pause = backoff.failed(now=now, ready_since=None, chance=0)
        assert pause is not None
    backoff, pause = backoff.failed(now=23.0, ready_since=None, chance=0)
    assert pause is None


def test_a_program_that_is_ready_in_between_loops_as_well() -> None:
    backoff = Backoff(BackoffPolicy(give_up_after=3, window=60, stable_after=5))
    for now, expected in ((10.0, 0.0), (20.0, 0.0), (30.0, None)):
        backoff, pause = backoff.failed(now=now, ready_since=now - 9, chance=0)
        assert pause == expected


def test_what_is_remembered_has_a_bound() -> None:
    backoff = Backoff(BackoffPolicy(give_up_after=5))
    for _ in range(100):
        backoff, _ = backoff.failed(now=1.0, ready_since=None, chance=0)
    assert len(backoff.times) == 5


def test_programs_that_count_together_are_given_up_together() -> None:
    record = FailureRecord(BackoffPolicy(give_up_after=3))
    found = [record.failed(now=0.0, ready_since=None, chance=0) for _ in range(3)]
    assert found == [0.0, 0.25, None]
    record.forget()
    assert record.counted == 0


def test_chance_shortens_a_pause_by_its_share_at_most() -> None:
    assert pauses(Backoff(POLICY), 4, chance=1.0) == [0, 0.5, 1, 2]


def test_a_stable_run_makes_the_next_failure_the_first() -> None:
    backoff = Backoff(POLICY, failures=7)
    backoff, pause = backoff.failed(now=160.0, ready_since=100.0, chance=0)
    assert (backoff.failures, pause) == (1, 0)


def test_a_run_that_was_ready_too_briefly_counts() -> None:
    backoff = Backoff(POLICY, failures=3)
    backoff, pause = backoff.failed(now=159.9, ready_since=100.0, chance=0)
    assert (backoff.failures, pause) == (4, 4)


def test_a_person_may_begin_anew() -> None:
    assert pauses(Backoff(POLICY, failures=9).forgotten(), 1) == [0]


@given(st.integers(0, 100_000), st.floats(0, 1, exclude_max=True))
def test_without_a_bound_on_failures_it_never_gives_up(failures: int, chance: float) -> None:
    policy = BackoffPolicy(give_up_after=None)
    _, pause = Backoff(policy, failures).failed(now=0, ready_since=None, chance=chance)
    assert pause is not None
    assert 0 <= pause <= policy.longest_pause
