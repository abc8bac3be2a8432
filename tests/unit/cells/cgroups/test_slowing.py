"""Who is slowed down for its processes' being killed."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.cells.cgroups.slowing import CALM, OFTEN, WINDOW, Slowing


def test_a_storm_is_noticed_and_its_end_as_well() -> None:
    deciding = Slowing(0, 0.0)
    assert not deciding.look(OFTEN - 1, 1.0)
    assert deciding.look(OFTEN, 1.9)
    # Slowed down, there are few; they still say that it goes on.
    last = 1.9 + CALM - 1
    assert deciding.look(OFTEN + 1, last)
    assert deciding.look(OFTEN + 1, last + CALM - 1)
    assert deciding.quiet(last + CALM - 1) == CALM - 1
    assert not deciding.look(OFTEN + 1, last + CALM)


def test_what_was_killed_before_does_not_count() -> None:
    deciding = Slowing(1000, 0.0)
    assert not deciding.look(1001, 1.0)


def test_one_now_and_then_is_no_storm() -> None:
    deciding = Slowing(0, 0.0)
    for number in range(1, 100):
        assert not deciding.look(number, number * WINDOW / 2)


@given(st.lists(st.tuples(st.floats(0.05, 3.0), st.integers(0, 3)), min_size=1))
def test_it_begins_only_with_many_within_the_window(steps: list[tuple[float, int]]) -> None:
    deciding, now, kills = Slowing(0, 0.0), 0.0, 0
    seen = [(0.0, 0)]
    before = False
    for pause, more in steps:
        now, kills = now + pause, kills + more
        seen.append((now, kills))
        slowed = deciding.look(kills, now)
        if slowed and not before:
            # At most one look lies outside: when each came is not known better.
            base = [one for time, one in seen if now - time > WINDOW][-1:]
            inside = [one for time, one in seen if now - time <= WINDOW]
            assert kills - min(base + inside) >= OFTEN
        before = slowed
