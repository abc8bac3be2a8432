"""Which applications give way to the others on busy processors. Pure: time is an argument.

Weights say what each gets of a busy processor in the long run; they do not say how soon. A task
that wakes up beside busy ones of the same weight may wait for their turn to end: a tick of some
milliseconds (EEVDF, kernel/sched/fair.c), which is several times what a small request takes. A
group with ``cpu.idle`` (Linux 5.15, Documentation/admin-guide/cgroup-v2.rst) is interrupted at
once by what wakes up in a group beside it. So while the processors are busy, the applications
that use more than their share by weight are in such groups, and the others are not.

Among groups with ``cpu.idle`` weights do not count. So where those that use more than their
share have different weights, it is left to the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass

CHANCE = 0.05
"""How likely it is, from when on it matters, that whoever wakes up finds no processor idle."""
EXCESS = 1.1
"""Using so many times its share by weight is more than its share: by weights alone each of
several busy ones gets just its share."""
LEAST = 0.1
"""Processors: who uses less disturbs nobody."""
DWELL = 2.0
"""Seconds for which one counts as using more than its share after it last did: in a group with
``cpu.idle`` it may get less, and nobody sees from outside whether it would want more."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one application has used of the processors."""

    processors: float
    """On average over the interval: 1.5 is one and a half processors' time."""
    weight: int
    """As ``cpu-weight``."""
    may_give_way: bool = True


def crowded(busy: float, processors: int) -> bool:
    """Whether those that wake up are likely enough to find every processor busy. ``busy`` is the
    part of all their time that the processors were, 0 to 1: of many, one is nearly always idle
    until nearly all are busy."""
    chance: float = busy**processors
    return chance >= CHANCE


class GivingWay:
    """Decides from one interval to the next."""

    def __init__(self) -> None:
        self._excessive: dict[str, float] = {}
        """When each last used more than its share."""

    def decide(self, shares: Mapping[str, Share], *, crowded: bool, now: float) -> frozenset[str]:
        """Who gives way from now on. ``shares`` are those of all applications, idle ones
        included; ``crowded`` says whether the processors were (:func:`crowded`). ``now`` is in
        seconds, of a clock that does not go back."""
        if crowded:
            for name in _excessive(shares):
                self._excessive[name] = now
        self._excessive = {
            name: since
            for name, since in self._excessive.items()
            if name in shares and shares[name].may_give_way and now - since < DWELL
        }
        weights = {shares[name].weight for name in self._excessive}
        return frozenset(self._excessive if len(weights) == 1 else ())


def _excessive(shares: Mapping[str, Share]) -> frozenset[str]:
    total = sum(share.processors for share in shares.values())
    weights = sum(share.weight for share in shares.values())
    return frozenset(
        name
        for name, share in shares.items()
        if share.may_give_way
        and share.processors > max(LEAST, EXCESS * total * share.weight / weights)
    )
