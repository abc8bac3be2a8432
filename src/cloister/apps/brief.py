"""What changes all the time, of everything, in few bytes: for those who ask every second.

Named tuples: JSON writes them as arrays, without a copy of each field first.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cloister.door.messages import Statistics


class AppBrief(NamedTuple):
    """One application."""

    name: str
    state: str
    pids: tuple[int, ...]
    """Of its cells' outer processes."""
    restarts: int
    accepted: int
    active: int
    bytes_to_target: int
    bytes_to_client: int
    groups: tuple[tuple[str, int], ...]
    """The folders of its control groups, each with the version of its hierarchy."""


class ListenerBrief(NamedTuple):
    """One listening address."""

    name: str
    address: str
    accepted: int
    active: int
    refused: int
    """Connections that reached no application."""


class Brief(NamedTuple):
    """The whole."""

    time: float
    """Seconds of the monotonic clock, for rates."""
    door_pids: tuple[int, ...]
    door_state: str
    listeners: tuple[ListenerBrief, ...]
    apps: tuple[AppBrief, ...]


REACHED = frozenset(
    {"complete", "client-aborted", "target-aborted", "idle-timeout", "handed-off", "drained"}
)
"""How connections end that had reached an application."""


def listener_briefs(statistics: Statistics | None) -> tuple[ListenerBrief, ...]:
    """Of every address that the door knows."""
    if statistics is None:
        return ()
    return tuple(
        ListenerBrief(
            one.name, one.address, one.accepted, one.active, _refused(one.outcomes.items())
        )
        for one in statistics.listeners
    )


def _refused(outcomes: Iterable[tuple[str, int]]) -> int:
    return sum(count for outcome, count in outcomes if outcome not in REACHED)
