"""Who gives way on busy processors."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.cells.cgroups.giving_way import (
    DWELL,
    EXCESS,
    LEAST,
    GivingWay,
    Share,
    crowded,
)


def decide(shares: dict[str, Share]) -> set[str]:
    return set(GivingWay().decide(shares, crowded=True, now=0.0))


def test_who_uses_more_than_its_share_gives_way_to_who_does_not() -> None:
    assert decide({"spinner": Share(1.9, 100), "quiet": Share(0.1, 100)}) == {"spinner"}


def test_so_do_several_of_the_same_weight() -> None:
    spinners = {"a": Share(0.95, 100), "b": Share(0.95, 100)}
    assert decide({**spinners, "quiet": Share(0.0, 100)}) == {"a", "b"}


def test_one_alone_and_equals_have_nobody_to_give_way_to() -> None:
    assert decide({"a": Share(2.0, 100)}) == set()
    assert decide({"a": Share(1.02, 100), "b": Share(0.98, 100)}) == set()


def test_what_a_weight_allows_is_not_too_much() -> None:
    database = Share(1.5, 1000)
    assert decide({"database": database, "quiet": Share(0.1, 100)}) == set()
    assert decide({"database": Share(0.1, 1000), "spinner": Share(1.8, 100)}) == {"spinner"}


def test_among_different_weights_these_decide() -> None:
    shares = {"a": Share(1.3, 200), "b": Share(0.65, 100), "quiet": Share(0.0, 100)}
    assert decide(shares) == set()


def test_who_must_not_does_not() -> None:
    never = Share(1.9, 100, may_give_way=False)
    assert decide({"never": never, "quiet": Share(0.1, 100)}) == set()


def test_little_disturbs_nobody() -> None:
    assert decide({"some": Share(LEAST, 100), "quiet": Share(0.0, 100)}) == set()


def test_it_lasts_for_a_while_and_ends() -> None:
    deciding = GivingWay()
    busy = {"spinner": Share(1.9, 100), "quiet": Share(0.1, 100)}
    rest = {"spinner": Share(0.0, 100), "quiet": Share(0.0, 100)}
    assert deciding.decide(busy, crowded=False, now=0.0) == frozenset()
    assert deciding.decide(busy, crowded=True, now=1.0) == {"spinner"}
    assert deciding.decide(rest, crowded=True, now=1.0 + DWELL / 2) == {"spinner"}
    assert deciding.decide(rest, crowded=False, now=1.0 + DWELL) == frozenset()


def test_a_heavier_one_that_is_starved_for_it_is_left_to_the_weights() -> None:
    """In the background it gets next to nothing beside a second busy one."""
    deciding = GivingWay()
    quiet = Share(0.0, 100)
    first = {"a": Share(1.9, 200), "b": Share(0.0, 100), "quiet": quiet}
    assert deciding.decide(first, crowded=True, now=0.0) == {"a"}
    starved = {"a": Share(0.1, 200), "b": Share(1.8, 100), "quiet": quiet}
    assert deciding.decide(starved, crowded=True, now=0.25) == frozenset()
    by_weight = {"a": Share(1.3, 200), "b": Share(0.65, 100), "quiet": quiet}
    for step in range(2, 40):
        assert deciding.decide(by_weight, crowded=True, now=step / 4) == frozenset()


def test_who_is_gone_is_forgotten() -> None:
    deciding = GivingWay()
    busy = {"spinner": Share(1.9, 100), "quiet": Share(0.1, 100)}
    assert deciding.decide(busy, crowded=True, now=0.0) == {"spinner"}
    assert deciding.decide({"quiet": Share(0.1, 100)}, crowded=True, now=0.1) == frozenset()


def test_many_processors_are_crowded_later() -> None:
    assert not crowded(0.15, 2)
    assert crowded(0.3, 2)
    assert not crowded(0.8, 64)
    assert crowded(0.97, 64)
    assert crowded(1.0, 64)


SHARES = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.builds(Share, st.floats(0, 4), st.integers(1, 10_000), st.booleans()),
)


@given(st.lists(st.tuples(SHARES, st.booleans(), st.floats(0, 3)), max_size=12))
def test_never_who_must_not_and_never_different_weights(
    steps: list[tuple[dict[str, Share], bool, float]],
) -> None:
    deciding = GivingWay()
    now = 0.0
    for shares, is_crowded, pause in steps:
        now += pause
        giving = deciding.decide(shares, crowded=is_crowded, now=now)
        assert giving <= set(shares)
        assert all(shares[name].may_give_way for name in giving)
        assert len({shares[name].weight for name in giving}) <= 1


@given(SHARES)
def test_at_once_only_those_beyond_their_share(shares: dict[str, Share]) -> None:
    giving = decide(shares)
    total = sum(one.processors for one in shares.values())
    weights = sum(one.weight for one in shares.values())
    for name in giving:
        assert shares[name].processors > EXCESS * total * shares[name].weight / weights
    assert giving != set(shares) or not shares
