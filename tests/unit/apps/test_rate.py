"""How many lines are worth keeping."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.apps.rate import BURST, RateLimit


def test_many_at_once_then_so_many_a_second() -> None:
    limit = RateLimit(100)
    assert limit.take(1500, now=5.0) == 1000
    assert limit.take(10, now=5.0) == 0
    assert limit.take(1000, now=6.0) == 100
    assert limit.report() == 500 + 10 + 900
    assert limit.report() == 0
    # After a pause as many at once as at the beginning, and no more.
    assert limit.take(5000, now=1000.0) == 1000


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10_000)), max_size=30))
def test_never_more_than_the_rate_allows_and_none_is_forgotten(
    steps: list[tuple[float, int]],
) -> None:
    limit = RateLimit(50)
    now, passed, offered = 0.0, 0, 0
    for pause, count in steps:
        now += pause
        passed += limit.take(count, now)
        offered += count
    assert passed <= 50 * BURST + 50 * now + 1
    assert passed + limit.report() == offered
