"""Adds up the counters of several doors that served the same listeners."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from cloister.door.messages import AppStatistics, Histogram, ListenerStatistics, Statistics

_NEVER = Histogram((), (), 0)
_EMPTY: dict[str, object] = {
    "outcomes": {},
    "listeners": (),
    "apps": (),
    **dict.fromkeys(("hello", "connect", "answer"), _NEVER),
}
NOTHING = Statistics(
    **{field.name: _EMPTY.get(field.name, 0) for field in dataclasses.fields(Statistics)}  # type: ignore[arg-type]
)
"""Every number at zero."""

_NOT_ADDED = ("generation", "workers")
"""What describes the newest door alone."""

Counters = TypeVar("Counters", Statistics, ListenerStatistics, AppStatistics)


def total(older: Statistics, newest: Statistics) -> Statistics:
    """The sum; generation and workers are the newest one's."""
    return _sum(older, newest)


def ended(statistics: Statistics) -> Statistics:
    """Those of a door that is gone: nothing of it is open any more."""
    return dataclasses.replace(
        statistics,
        active=0,
        listeners=tuple(dataclasses.replace(one, active=0) for one in statistics.listeners),
        apps=tuple(dataclasses.replace(one, active=0) for one in statistics.apps),
    )


def _sum(older: Counters, newest: Counters) -> Counters:
    """Field by field, whichever there are: numbers add up, everything else by its key."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(newest):
        one, other = getattr(older, field.name), getattr(newest, field.name)
        if isinstance(other, int):
            changes[field.name] = other if field.name in _NOT_ADDED else one + other
        elif isinstance(other, Histogram):
            changes[field.name] = _joined(one, other)
        elif isinstance(other, Mapping):
            keys = {**one, **other}
            changes[field.name] = {key: one.get(key, 0) + other.get(key, 0) for key in keys}
        elif isinstance(other, tuple):
            changes[field.name] = _merged(one, other)
    return dataclasses.replace(newest, **changes)  # type: ignore[arg-type]


def _joined(older: Histogram, newest: Histogram) -> Histogram:
    """Both, bucket by bucket; the newest alone where a new program has other buckets."""
    if older.bounds_us != newest.bounds_us:
        return newest if newest.bounds_us else older
    counts = tuple(one + other for one, other in zip(older.counts, newest.counts, strict=True))
    return Histogram(newest.bounds_us, counts, older.sum_us + newest.sum_us)


def _merged(
    older: tuple[ListenerStatistics | AppStatistics, ...],
    newest: tuple[ListenerStatistics | AppStatistics, ...],
) -> tuple[ListenerStatistics | AppStatistics, ...]:
    found = {_key(one): one for one in older}
    for one in newest:
        key = _key(one)
        found[key] = _sum(found[key], one) if key in found else one  # type: ignore[type-var]
    return tuple(found.values())


def _key(one: ListenerStatistics | AppStatistics) -> tuple[str, ...]:
    if isinstance(one, ListenerStatistics):
        return one.name, one.address
    return (one.name,)
