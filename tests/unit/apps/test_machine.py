"""The table of an application's life: complete, and right in every order of events."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Golden

from cloister.apps.machine import (
    PROCESS_STATES,
    SPAWNING_STATES,
    TABLE,
    Action,
    Event,
    ImpossibleEventError,
    Refusal,
    State,
    Transition,
    mermaid,
    next_step,
)

DIAGRAM = Path(__file__).parents[3] / "docs" / "app-states.md"
REQUESTS = (
    Event.START_REQUESTED,
    Event.STOP_REQUESTED,
    Event.RESTART_REQUESTED,
    Event.FORCE_REQUESTED,
    Event.DEMANDED,
    Event.REST_REQUESTED,
    Event.RELIEF_REQUESTED,
)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_cell_is_filled(state: State, event: Event) -> None:
    assert isinstance(TABLE[state][event], Transition | Refusal)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("request_event", REQUESTS)
def test_a_person_may_ask_for_anything_at_any_time(state: State, request_event: Event) -> None:
    assert TABLE[state][request_event] is not Refusal.IMPOSSIBLE


@pytest.mark.parametrize("state", State)
def test_an_exit_is_possible_exactly_where_a_process_is(state: State) -> None:
    assert (TABLE[state][Event.EXITED] is not Refusal.IMPOSSIBLE) == (state in PROCESS_STATES)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", [Event.SPAWNED, Event.SPAWN_FAILED])
def test_a_spawn_ends_exactly_where_one_is_under_way(state: State, event: Event) -> None:
    assert (TABLE[state][event] is not Refusal.IMPOSSIBLE) == (state in SPAWNING_STATES)


def test_an_impossible_event_is_an_error_that_names_both() -> None:
    with pytest.raises(ImpossibleEventError, match="'exited' cannot happen in state 'stopped'"):
        next_step(State.STOPPED, Event.EXITED)


def test_an_ignored_event_changes_nothing() -> None:
    assert next_step(State.READY, Event.START_REQUESTED) is None


def test_a_connection_that_comes_while_nobody_is_needed_any_more_gets_a_process() -> None:
    """Whatever it meets on its way out, it ends where a process is made."""
    for state in (State.RETIRING, State.RETIRE_KILLING):
        step = next_step(state, Event.DEMANDED)
        assert step is not None
        following = next_step(step.state, Event.EXITED)
        assert following is not None
        assert following.state is State.SPAWNING


@pytest.mark.parametrize("state", State)
def test_a_restart_that_a_person_asks_for_begins_the_back_off_anew(state: State) -> None:
    step = next_step(state, Event.RESTART_REQUESTED)
    begun = state in SPAWNING_STATES  # what is being made is made
    assert begun or (step is not None and Action.FORGET_FAILURES in step.actions)


def test_a_relief_and_a_demand_forget_no_failure() -> None:
    """Neither is a person's: what a process says of itself must not undo its crash loop."""
    for event in (Event.RELIEF_REQUESTED, Event.DEMANDED):
        for state in State:
            step = next_step(state, event)
            while step is not None:
                assert Action.FORGET_FAILURES not in step.actions
                ended = TABLE[step.state][Event.EXITED]
                step = ended if isinstance(ended, Transition) else None


def test_what_is_relieved_ends_by_consent_and_another_follows() -> None:
    step = next_step(State.READY, Event.RELIEF_REQUESTED)
    assert step == Transition(State.RESTARTING, (Action.TERMINATE, Action.ARM_STOP_TIMER))
    # Its exit is none that is reported, and no back-off stands before the next one.
    assert next_step(step.state, Event.EXITED) == Transition(State.SPAWNING, (Action.SPAWN,))


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_nothing_else_is_relieved(state: State) -> None:
    step = next_step(state, Event.RELIEF_REQUESTED)
    assert step is None or (state is State.STOPPED and step.state is State.SPAWNING)


@pytest.mark.parametrize("state", [State.ENDED, State.FAILED, State.STOPPED])
def test_a_demand_starts_nothing_that_a_person_has_to_start(state: State) -> None:
    assert next_step(state, Event.DEMANDED) is None


class World:
    """Whatever a table could do to real processes, and the events that may come of it."""

    def __init__(self) -> None:
        self.state = State.STOPPED
        self.alive = False
        self.spawning = False
        self.pending: set[Event] = set()

    def possible(self) -> list[Event]:
        events = [*REQUESTS, *self.pending]
        if self.spawning:
            events += [Event.SPAWNED, Event.SPAWN_FAILED]
        if self.alive:
            events.append(Event.EXITED)
        return events

    def happen(self, event: Event) -> None:
        if event is Event.SPAWNED:
            assert not self.alive
            self.alive, self.spawning = True, False
        elif event is Event.SPAWN_FAILED:
            self.spawning = False
        elif event is Event.EXITED:
            self.alive = False
        step = next_step(self.state, event)  # raises if it were impossible
        if step is None:
            return
        if step.state is not self.state:
            self.pending = set()
        self.state = step.state
        for action in step.actions:
            self.act(action)

    def act(self, action: Action) -> None:
        if action is Action.SPAWN:
            assert not self.alive, "two processes of one program"
            assert not self.spawning, "two processes in the making"
            self.spawning = True
        elif action in (Action.KILL, Action.TERMINATE):
            assert self.alive, "a signal without a process"
        elif action is Action.WATCH_READINESS:
            self.pending |= {Event.BECAME_READY, Event.READY_TIMEOUT}
        elif action is Action.ARM_STOP_TIMER:
            self.pending |= {Event.STOP_TIMEOUT}
        elif action is Action.SCHEDULE_RESTART:
            self.pending |= {Event.BACKOFF_ELAPSED, Event.GAVE_UP, Event.LET_GO}

    def check(self) -> None:
        assert self.alive == (self.state in PROCESS_STATES)
        assert self.spawning == (self.state in SPAWNING_STATES)


@settings(max_examples=400)
@given(st.data())
def test_any_order_of_events(data: st.DataObject) -> None:
    world = World()
    for _ in range(data.draw(st.integers(0, 40))):
        world.happen(data.draw(st.sampled_from(world.possible())))
        world.check()
    # Whatever was, a stop ends in peace once the process and the timers have their say.
    world.happen(Event.STOP_REQUESTED)
    for event in (Event.SPAWNED, Event.STOP_TIMEOUT, Event.EXITED):
        if event in world.possible():
            world.happen(event)
            world.check()
    assert world.state is State.STOPPED
    assert not world.alive


@settings(max_examples=200)
@given(st.data())
def test_what_is_wanted_comes_back(data: st.DataObject) -> None:
    world = World()
    for _ in range(data.draw(st.integers(0, 30))):
        world.happen(data.draw(st.sampled_from(world.possible())))
    world.happen(Event.RESTART_REQUESTED)
    for event in (
        Event.STOP_TIMEOUT,
        Event.EXITED,
        Event.BACKOFF_ELAPSED,
        Event.SPAWNED,
        Event.BECAME_READY,
    ):
        if event in world.possible():
            world.happen(event)
    assert world.state is State.READY


def test_the_published_diagram_is_the_table(golden: Golden) -> None:
    text = f"""# The life of an application

Made from the table in `src/cloister/apps/machine.py`; the front door lives by it too.
A label reads *event / actions*. Events that change nothing are left out.
After a change: `pytest tests/unit/apps/test_machine.py --rewrite-goldens`.

```mermaid
{mermaid()}```
"""
    golden.check(DIAGRAM, text)
