"""When a process that has done its share may be followed by another. Pure: time is an argument.

That it has done its share is the process's own word. One that says so at once, and the next
one too, has no more made of it than :data:`SERVES_AT_LEAST` and :data:`PAUSE` allow.
"""

SERVES_AT_LEAST = 5.0
"""Seconds that each process serves: a Python starts in half a second, a tenth of that."""
PAUSE = 1.0
"""Seconds between two reliefs of one application, however many processes it has."""
RETRY = 60.0
"""Seconds without another try after the next process did not become ready."""


class Reliefs:
    """Those of one application. Seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._not_before = float("-inf")

    def wait(self, now: float, ready_since: float | None) -> float:
        """How long a process that serves since ``ready_since`` has to go on; 0 for no longer."""
        served = (now if ready_since is None else ready_since) + SERVES_AT_LEAST
        return max(0.0, self._not_before - now, served - now)

    def begun(self, now: float) -> None:
        """One is followed by another from now on."""
        self._not_before = now + PAUSE

    def given_up(self, now: float) -> None:
        """The next one did not become ready."""
        self._not_before = now + RETRY
