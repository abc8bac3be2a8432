"""How long to wait before a failed program is started again. Pure: time is an argument."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """The numbers; durations in seconds."""

    first_pause: float = 0.25
    """Before the second restart in a row; the first one follows at once."""
    factor: float = 2.0
    longest_pause: float = 30.0
    jitter: float = 0.2
    """The share of a pause that chance may take off, so that programs which failed
    together do not come back together."""
    stable_after: float = 10.0
    """A program that was ready for so long has not failed in a row."""
    give_up_after: int | None = 20
    """Failures within ``window`` after which no restart follows, however long the program
    was ready between them; ``None`` never gives up."""
    window: float = 600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """The failures so far."""

    policy: BackoffPolicy = BackoffPolicy()
    failures: int = 0
    """In a row."""
    times: tuple[float, ...] = ()
    """When the newest ones were: as many as may count within the window."""

    def failed(
        self, *, now: float, ready_since: float | None, chance: float
    ) -> tuple["Backoff", float | None]:
        """The state after one more failure, and the pause before the next start.

        ``now`` and ``ready_since`` are of one monotonic clock; ``ready_since`` is ``None``
        where the program never became ready. ``chance`` is evenly distributed in [0, 1).
        The pause is ``None`` where the program is given up.
        """
        policy = self.policy
        stable = ready_since is not None and now - ready_since >= policy.stable_after
        failures = 1 if stable else self.failures + 1
        times = self.times
        if policy.give_up_after is not None:
            times = (*(time for time in times if now - time < policy.window), now)
            times = times[-policy.give_up_after :]
        following = replace(self, failures=failures, times=times)
        if policy.give_up_after is not None and len(times) >= policy.give_up_after:
            return following, None
        if failures == 1:
            return following, 0.0
        # The exponent is bounded: a float overflows at about 2 ** 1024.
        doublings = min(failures - 2, 64)
        pause = min(policy.first_pause * policy.factor**doublings, policy.longest_pause)
        return following, pause * (1.0 - policy.jitter * chance)

    def forgotten(self) -> "Backoff":
        """The state after a request to begin anew."""
        return replace(self, failures=0, times=())


class FailureRecord:
    """The failures of programs that count together: the processes of one application."""

    def __init__(self, policy: BackoffPolicy) -> None:
        self.policy = policy
        self._backoff = Backoff(policy)

    @property
    def counted(self) -> int:
        """How many count within the window now."""
        return len(self._backoff.times)

    def failed(self, *, now: float, ready_since: float | None, chance: float) -> float | None:
        """As :meth:`Backoff.failed`: the pause alone."""
        self._backoff, pause = self._backoff.failed(now=now, ready_since=ready_since, chance=chance)
        return pause

    def forget(self) -> None:
        """Begin anew."""
        self._backoff = self._backoff.forgotten()
