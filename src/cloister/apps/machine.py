"""The life of a supervised program as one complete table: state and event to state and actions.

Pure: no I/O, no clock, no knowledge of what is supervised (an application in its cell and
the front door obey the same table). ``cloister.apps.service`` interprets the actions and
keeps two rules that the table relies on:

* Whatever an action set going that has not happened yet (a readiness watch, a timer) is
  called off when the state is left, so its event can arrive in no other state. The one
  exception is :data:`Action.SPAWN`, which always ends in ``SPAWNED`` or ``SPAWN_FAILED``.
* ``EXITED`` comes exactly once for each ``SPAWNED``.

Every cell is filled. A cell that is no transition is one of two refusals: the event asks
for what is already so (``IGNORED``), or it cannot happen there (``IMPOSSIBLE``), which
shows a fault in the interpreter and never a fault of the program supervised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class State(Enum):
    """Where a program stands; the value is its name in status and logs."""

    STOPPED = "stopped"
    """No process, and none to come."""
    DORMANT = "dormant"
    """No process; the first who needs one has it made."""
    SPAWNING = "spawning"
    """A process is being made."""
    STARTING = "starting"
    """A process runs, and has not shown that it serves."""
    READY = "ready"
    """A process serves."""
    BACKOFF = "backoff"
    """No process; the next one comes after a pause."""
    ENDED = "ended"
    """No process; it ended by itself, and only a request starts it again."""
    FAILED = "failed"
    """No process; it failed too often, and only a request starts it again."""
    WITHDRAWING = "withdrawing"
    """A process is being made although a stop was requested meanwhile."""
    STOPPING = "stopping"
    """The process was asked to end."""
    KILLING = "killing"
    """The process was killed and is not reaped yet."""
    RESTARTING = "restarting"
    """The process was asked to end, and another one follows."""
    RESTART_KILLING = "restart-killing"
    """The process was killed, and another one follows."""
    RETIRING = "retiring"
    """The process was asked to end because nobody needs it."""
    RETIRE_KILLING = "retire-killing"
    """The process was killed after nobody needed it any more."""
    ABORTING = "aborting"
    """The process was killed because it did not become ready in time."""


class Event(Enum):
    """What happens to a program: requests, whether it is needed; the rest comes from actions."""

    START_REQUESTED = "start requested"
    STOP_REQUESTED = "stop requested"
    RESTART_REQUESTED = "restart requested"
    FORCE_REQUESTED = "force requested"
    """Stop without waiting for the program's consent."""
    DEMANDED = "demanded"
    """Somebody needs it: a connection waits, or more serve than have the time."""
    REST_REQUESTED = "rest requested"
    """Nobody needs it."""
    RELIEF_REQUESTED = "relief requested"
    """A process that has done its share is to be followed by another: no failure, and no
    person's request."""
    SPAWNED = "spawned"
    SPAWN_FAILED = "spawn failed"
    BECAME_READY = "became ready"
    READY_TIMEOUT = "ready time-out"
    EXITED = "exited"
    STOP_TIMEOUT = "stop time-out"
    BACKOFF_ELAPSED = "back-off elapsed"
    GAVE_UP = "gave up"
    LET_GO = "let go"
    """It ended by itself, and is not to be started again for that."""


class Action(Enum):
    """What the interpreter does, in the order given."""

    SPAWN = "spawn"
    """Make a process; ends in ``SPAWNED`` or ``SPAWN_FAILED``."""
    WATCH_READINESS = "watch readiness"
    """Ends in ``BECAME_READY`` or ``READY_TIMEOUT``, unless the state is left before."""
    TERMINATE = "terminate"
    """Ask the process to end (SIGTERM, or a drain)."""
    ARM_STOP_TIMER = "arm stop timer"
    """Ends in ``STOP_TIMEOUT``, unless the state is left before."""
    KILL = "kill"
    """SIGKILL; nothing of the program survives."""
    SCHEDULE_RESTART = "schedule restart"
    """Ask the restart and back-off policies; ends in ``BACKOFF_ELAPSED``, ``GAVE_UP``,
    ``LET_GO`` or ``REST_REQUESTED``."""
    FORGET_FAILURES = "forget failures"
    """Begin the back-off anew: a person wants another try."""
    REPORT_READY = "report ready"
    REPORT_SPAWN_FAILURE = "report spawn failure"
    REPORT_EXIT = "report exit"
    """The process ended although nobody asked it to."""
    REPORT_LATE = "report late"
    """The process did not become ready in time."""
    REPORT_STUBBORN = "report stubborn"
    """The process did not end in time."""
    REPORT_GIVEN_UP = "report given up"


@dataclass(frozen=True, slots=True)
class Transition:
    """A filled cell of the table."""

    state: State
    """The state from now on."""
    actions: tuple[Action, ...] = ()


class Refusal(Enum):
    """A cell that changes nothing."""

    IGNORED = "ignored"
    IMPOSSIBLE = "impossible"


Cell = Transition | Refusal

PROCESS_STATES = frozenset(
    {
        State.STARTING,
        State.READY,
        State.STOPPING,
        State.KILLING,
        State.RESTARTING,
        State.RESTART_KILLING,
        State.RETIRING,
        State.RETIRE_KILLING,
        State.ABORTING,
    }
)
"""The states in which exactly one process exists, reaped or not."""

SPAWNING_STATES = frozenset({State.SPAWNING, State.WITHDRAWING})
"""The states in which a process is being made, and none exists."""

SETTLED = (
    State.READY,
    State.DORMANT,
    State.BACKOFF,
    State.ENDED,
    State.FAILED,
    State.STOPPED,
)
"""The states in which the outcome of a start is known."""


class ImpossibleEventError(RuntimeError):
    """An event came where it cannot come: a fault in the interpreter."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{event.value!r} cannot happen in state {state.value!r}")
        self.state = state
        self.event = event


def _row(
    *transitions: tuple[Event, State, tuple[Action, ...]],
    ignored: tuple[Event, ...] = (),
    impossible: tuple[Event, ...] = (),
) -> Mapping[Event, Cell]:
    """One state's row; names every event exactly once."""
    cells: list[tuple[Event, Cell]] = [
        *((event, Transition(state, actions)) for event, state, actions in transitions),
        *((event, Refusal.IGNORED) for event in ignored),
        *((event, Refusal.IMPOSSIBLE) for event in impossible),
    ]
    named = [event for event, _ in cells]
    if sorted(event.name for event in named) != sorted(event.name for event in Event):
        raise AssertionError(f"a row names each event once, not {named}")
    return MappingProxyType(dict(cells))


_START = Event.START_REQUESTED
_STOP = Event.STOP_REQUESTED
_RESTART = Event.RESTART_REQUESTED
_FORCE = Event.FORCE_REQUESTED
_SPAWN_RESULTS = (Event.SPAWNED, Event.SPAWN_FAILED)
_READINESS = (Event.BECAME_READY, Event.READY_TIMEOUT)
_BACKOFF_RESULTS = (Event.BACKOFF_ELAPSED, Event.GAVE_UP, Event.LET_GO)
_DEMAND = Event.DEMANDED
_REST = Event.REST_REQUESTED
_RELIEF = Event.RELIEF_REQUESTED

_ASK_TO_END = (Action.TERMINATE, Action.ARM_STOP_TIMER)
_AFRESH = (Action.FORGET_FAILURES, Action.SPAWN)
_ASK_TO_END_FOR_ANOTHER = (Action.FORGET_FAILURES, *_ASK_TO_END)
_REARM_FOR_ANOTHER = (Action.FORGET_FAILURES, Action.ARM_STOP_TIMER)

_FROM_A_PROCESS = (*_SPAWN_RESULTS, *_READINESS, Event.EXITED, Event.STOP_TIMEOUT)
"""What comes of a process that is or is made, and of nothing else."""

TABLE: Mapping[State, Mapping[Event, Cell]] = MappingProxyType(
    {
        State.STOPPED: _row(
            (_START, State.SPAWNING, _AFRESH),
            (_RESTART, State.SPAWNING, _AFRESH),
            (_REST, State.DORMANT, (Action.FORGET_FAILURES,)),
            # The one that takes a place: it succeeds whoever has failed before.
            (_RELIEF, State.SPAWNING, (Action.SPAWN,)),
            # Whoever stopped it knows that it is needed.
            ignored=(_STOP, _FORCE, _DEMAND),
            impossible=(*_FROM_A_PROCESS, *_BACKOFF_RESULTS),
        ),
        State.DORMANT: _row(
            (_DEMAND, State.SPAWNING, (Action.SPAWN,)),
            (_START, State.SPAWNING, _AFRESH),
            (_RESTART, State.SPAWNING, _AFRESH),
            (_STOP, State.STOPPED, ()),
            (_FORCE, State.STOPPED, ()),
            ignored=(_REST, _RELIEF),
            impossible=(*_FROM_A_PROCESS, *_BACKOFF_RESULTS),
        ),
        State.SPAWNING: _row(
            (Event.SPAWNED, State.STARTING, (Action.WATCH_READINESS,)),
            (
                Event.SPAWN_FAILED,
                State.BACKOFF,
                (Action.REPORT_SPAWN_FAILURE, Action.SCHEDULE_RESTART),
            ),
            (_STOP, State.WITHDRAWING, ()),
            (_FORCE, State.WITHDRAWING, ()),
            # Somebody has needed it a moment ago: what is begun is finished.
            ignored=(_START, _RESTART, _DEMAND, _REST, _RELIEF),
            impossible=(*_READINESS, Event.EXITED, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
        State.STARTING: _row(
            (Event.BECAME_READY, State.READY, (Action.REPORT_READY,)),
            (Event.READY_TIMEOUT, State.ABORTING, (Action.REPORT_LATE, Action.KILL)),
            (Event.EXITED, State.BACKOFF, (Action.REPORT_EXIT, Action.SCHEDULE_RESTART)),
            (_STOP, State.STOPPING, _ASK_TO_END),
            (_RESTART, State.RESTARTING, _ASK_TO_END_FOR_ANOTHER),
            (_FORCE, State.KILLING, (Action.KILL,)),
            ignored=(_START, _DEMAND, _REST, _RELIEF),
            impossible=(*_SPAWN_RESULTS, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
        State.READY: _row(
            (Event.EXITED, State.BACKOFF, (Action.REPORT_EXIT, Action.SCHEDULE_RESTART)),
            (_STOP, State.STOPPING, _ASK_TO_END),
            (_RESTART, State.RESTARTING, _ASK_TO_END_FOR_ANOTHER),
            (_RELIEF, State.RESTARTING, _ASK_TO_END),
            (_REST, State.RETIRING, _ASK_TO_END),
            (_FORCE, State.KILLING, (Action.KILL,)),
            ignored=(_START, _DEMAND),
            impossible=(*_SPAWN_RESULTS, *_READINESS, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
        State.BACKOFF: _row(
            (Event.BACKOFF_ELAPSED, State.SPAWNING, (Action.SPAWN,)),
            (Event.GAVE_UP, State.FAILED, (Action.REPORT_GIVEN_UP,)),
            (Event.LET_GO, State.ENDED, ()),
            (_START, State.SPAWNING, _AFRESH),
            (_RESTART, State.SPAWNING, _AFRESH),
            (_REST, State.DORMANT, ()),
            (_STOP, State.STOPPED, ()),
            (_FORCE, State.STOPPED, ()),
            # The pause is there because it failed, and a demand changes nothing of that.
            ignored=(_DEMAND, _RELIEF),
            impossible=_FROM_A_PROCESS,
        ),
        State.ENDED: _row(
            (_START, State.SPAWNING, _AFRESH),
            (_RESTART, State.SPAWNING, _AFRESH),
            (_STOP, State.STOPPED, ()),
            (_FORCE, State.STOPPED, ()),
            ignored=(_DEMAND, _REST, _RELIEF),
            impossible=(*_FROM_A_PROCESS, *_BACKOFF_RESULTS),
        ),
        State.FAILED: _row(
            (_START, State.SPAWNING, _AFRESH),
            (_RESTART, State.SPAWNING, _AFRESH),
            (_STOP, State.STOPPED, ()),
            (_FORCE, State.STOPPED, ()),
            ignored=(_DEMAND, _REST, _RELIEF),
            impossible=(*_FROM_A_PROCESS, *_BACKOFF_RESULTS),
        ),
        State.WITHDRAWING: _row(
            # It has served nobody yet: no reason to wait for its consent.
            (Event.SPAWNED, State.KILLING, (Action.KILL,)),
            (Event.SPAWN_FAILED, State.STOPPED, ()),
            (_START, State.SPAWNING, ()),
            (_RESTART, State.SPAWNING, ()),
            ignored=(_STOP, _FORCE, _DEMAND, _REST, _RELIEF),
            impossible=(*_READINESS, Event.EXITED, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
        State.STOPPING: _row(
            (Event.EXITED, State.STOPPED, ()),
            (Event.STOP_TIMEOUT, State.KILLING, (Action.REPORT_STUBBORN, Action.KILL)),
            (_FORCE, State.KILLING, (Action.KILL,)),
            # It was asked already: to many programs a second SIGTERM means "at once".
            (_START, State.RESTARTING, _REARM_FOR_ANOTHER),
            (_RESTART, State.RESTARTING, _REARM_FOR_ANOTHER),
            ignored=(_STOP, _DEMAND, _REST, _RELIEF),
            impossible=(*_SPAWN_RESULTS, *_READINESS, *_BACKOFF_RESULTS),
        ),
        State.KILLING: _row(
            (Event.EXITED, State.STOPPED, ()),
            (_START, State.RESTART_KILLING, (Action.FORGET_FAILURES,)),
            (_RESTART, State.RESTART_KILLING, (Action.FORGET_FAILURES,)),
            ignored=(_STOP, _FORCE, _DEMAND, _REST, _RELIEF),
            impossible=(*_SPAWN_RESULTS, *_READINESS, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
        State.RESTARTING: _row(
            (Event.EXITED, State.SPAWNING, (Action.SPAWN,)),
            (Event.STOP_TIMEOUT, State.RESTART_KILLING, (Action.REPORT_STUBBORN, Action.KILL)),
            (_STOP, State.STOPPING, (Action.ARM_STOP_TIMER,)),
            # It may have begun without a person, who asks now.
            (_RESTART, State.RESTARTING, (Action.FORGET_FAILURES,)),
            (_REST, State.RETIRING, (Action.ARM_STOP_TIMER,)),
            (_FORCE, State.KILLING, (Action.KILL,)),
            ignored=(_START, _DEMAND, _RELIEF),
            impossible=(*_SPAWN_RESULTS, *_READINESS, *_BACKOFF_RESULTS),
        ),
        State.RESTART_KILLING: _row(
            (Event.EXITED, State.SPAWNING, (Action.SPAWN,)),
            (_STOP, State.KILLING, ()),
            # It may have begun without a person, who asks now.
            (_RESTART, State.RESTART_KILLING, (Action.FORGET_FAILURES,)),
            (_REST, State.RETIRE_KILLING, ()),
            (_FORCE, State.KILLING, ()),
            ignored=(_START, _DEMAND, _RELIEF),
            impossible=(*_SPAWN_RESULTS, *_READINESS, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
        State.RETIRING: _row(
            (Event.EXITED, State.DORMANT, ()),
            (Event.STOP_TIMEOUT, State.RETIRE_KILLING, (Action.REPORT_STUBBORN, Action.KILL)),
            # It may take no connection any more: the one that came waits for the next process.
            (_DEMAND, State.RESTARTING, (Action.ARM_STOP_TIMER,)),
            (_START, State.RESTARTING, _REARM_FOR_ANOTHER),
            (_RESTART, State.RESTARTING, _REARM_FOR_ANOTHER),
            (_STOP, State.STOPPING, (Action.ARM_STOP_TIMER,)),
            (_FORCE, State.KILLING, (Action.KILL,)),
            ignored=(_REST, _RELIEF),
            impossible=(*_SPAWN_RESULTS, *_READINESS, *_BACKOFF_RESULTS),
        ),
        State.RETIRE_KILLING: _row(
            (Event.EXITED, State.DORMANT, ()),
            (_DEMAND, State.RESTART_KILLING, ()),
            (_START, State.RESTART_KILLING, (Action.FORGET_FAILURES,)),
            (_RESTART, State.RESTART_KILLING, (Action.FORGET_FAILURES,)),
            (_STOP, State.KILLING, ()),
            (_FORCE, State.KILLING, ()),
            ignored=(_REST, _RELIEF),
            impossible=(*_SPAWN_RESULTS, *_READINESS, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
        State.ABORTING: _row(
            (Event.EXITED, State.BACKOFF, (Action.SCHEDULE_RESTART,)),
            (_STOP, State.KILLING, ()),
            (_FORCE, State.KILLING, ()),
            (_RESTART, State.RESTART_KILLING, (Action.FORGET_FAILURES,)),
            ignored=(_START, _DEMAND, _REST, _RELIEF),
            impossible=(*_SPAWN_RESULTS, *_READINESS, Event.STOP_TIMEOUT, *_BACKOFF_RESULTS),
        ),
    }
)


def next_step(state: State, event: Event) -> Transition | None:
    """What follows from an event; ``None`` where it changes nothing.

    Raises :class:`ImpossibleEventError` where the table says that it cannot happen.
    """
    match TABLE[state][event]:
        case Transition() as transition:
            return transition
        case Refusal.IGNORED:
            return None
        case Refusal.IMPOSSIBLE:
            raise ImpossibleEventError(state, event)


def mermaid() -> str:
    """The table as a Mermaid state diagram, one arrow for each pair of states and actions."""
    arrows: dict[tuple[State, State, tuple[Action, ...]], list[str]] = {}
    for state, row in TABLE.items():
        for event, cell in row.items():
            if isinstance(cell, Transition):
                arrows.setdefault((state, cell.state, cell.actions), []).append(event.value)
    lines = ["stateDiagram-v2", "    [*] --> stopped"]
    for (state, target, actions), events in arrows.items():
        label = " or ".join(events)
        if actions:
            label += " / " + ", ".join(action.value for action in actions)
        # Mermaid ends a label at a hyphen pair and an identifier at a hyphen.
        source, sink = (name.value.replace("-", "_") for name in (state, target))
        lines.append(f"    {source} --> {sink}: {label}")
    return "\n".join(lines) + "\n"
