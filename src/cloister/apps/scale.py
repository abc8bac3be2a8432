"""How many processes a load asks for. Pure: no I/O, no clock.

As NGINX Unit does it (its ``processes`` object): another process is started while fewer than
``spare`` have nothing to do, or more is to be done than there are processes; an idle one
beyond ``spare`` ends after ``idle-timeout``. Never more than ``max`` at once, and never more
starting at once than ``spare``, or one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cloister.apps.machine import State
from cloister.model.lifecycle import Processes

_COMING = frozenset(
    {
        State.SPAWNING,
        State.STARTING,
        State.BACKOFF,
        State.RESTARTING,
        State.RESTART_KILLING,
        State.ABORTING,
    }
)
"""The states that a ready process follows, unless something goes wrong."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process, or the place of one."""

    state: State
    load: int = 0
    """What a ready one has to do: requests, or connections."""
    idle_for: float = 0.0
    """Seconds since a ready one had anything to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done, by the places in the sequence that was given."""

    demanded: tuple[int, ...] = ()
    resting: tuple[int, ...] = ()


def decide(policy: Processes, workers: Sequence[Worker], waiting: int) -> Change:
    """What a load asks for. ``waiting`` counts the connections that nobody has taken."""
    spare = policy.spare if policy.spare is not None else policy.most
    ready = [place for place, worker in enumerate(workers) if worker.state is State.READY]
    idle = [place for place in ready if not workers[place].load]
    coming = sum(worker.state in _COMING for worker in workers)
    to_do = waiting + sum(workers[place].load for place in ready)
    # One that is on its way out takes longer to come back than one that rests.
    free = [place for place, worker in enumerate(workers) if worker.state is State.DORMANT]
    free += [place for place, worker in enumerate(workers) if worker.state is State.RETIRING]
    demanded = []
    while (
        free
        and len(ready) + coming < policy.most
        and coming < max(1, spare)
        and (to_do > len(ready) + coming or spare > len(idle) + coming)
    ):
        demanded.append(free.pop(0))
        coming += 1
    longest = sorted(idle, key=lambda place: workers[place].idle_for, reverse=True)
    # One that ends must not be demanded again by the next look.
    too_many = min(len(idle) - spare, len(ready) + coming - to_do)
    beyond = longest[: max(0, too_many)] if not waiting and not demanded else []
    resting = [place for place in beyond if workers[place].idle_for >= policy.idle_timeout]
    return Change(tuple(demanded), tuple(resting))
