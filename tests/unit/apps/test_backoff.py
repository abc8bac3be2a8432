"""Pauses between restarts."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.apps.backoff import Backoff, BackoffPolicy

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
    assert pauses(Backoff(POLICY), 10) == [0, 1, 2, 4, 8, 10, 10, 10, None, None]


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
