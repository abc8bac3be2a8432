"""How many lines a second are worth keeping. Pure: time is an argument."""

BURST = 10
"""Seconds' worth of lines that may come at once."""


class RateLimit:
    """So many for long, and :data:`BURST` times as many at once; counts what it refuses."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate * BURST
        self._at: float | None = None
        self.refused = 0
        """Since :meth:`report`."""

    def take(self, count: int, now: float) -> int:
        """How many of ``count`` may pass; the others are counted. ``now`` is in seconds, of a
        clock that does not go back."""
        if self._at is not None:
            self._left = min(self._left + (now - self._at) * self._rate, self._rate * BURST)
        self._at = now
        passing = min(count, int(self._left))
        self._left -= passing
        self.refused += count - passing
        return passing

    def report(self) -> int:
        """How many were refused since the last time."""
        refused, self.refused = self.refused, 0
        return refused
