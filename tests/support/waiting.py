"""Waiting for an outcome, never for a time."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

INTERVAL = 0.002
"""Seconds between two looks: short against everything that tests wait for."""


class Deadline:
    """A moment until which several steps together may take."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds that are left; never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining == 0.0


def wait_until(
    condition: Callable[[], Value],
    *,
    seconds: float = 10.0,
    what: str = "the condition",
    interval: float = INTERVAL,
) -> Value:
    """The first true value of ``condition``, which is asked again and again: each ``interval``
    seconds, which are more where the question itself is much work for whoever is waited for.

    Raises AssertionError that names ``what`` and the last value after ``seconds``.
    """
    deadline = Deadline(seconds)
    while True:
        value = condition()
        if value:
            return value
        if deadline.expired:
            raise AssertionError(f"{what} did not come true in {seconds} s; last: {value!r}")
        time.sleep(interval)


async def until(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    """As :func:`wait_until`, on an event loop that does something meanwhile."""
    deadline = Deadline(seconds)
    while not condition():
        assert not deadline.expired, f"it did not come true in {seconds} s"
        await asyncio.sleep(INTERVAL)
