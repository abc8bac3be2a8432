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
    """Restarts in a row after which none follows; ``None`` never gives up."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures in a row so far."""

    policy: BackoffPolicy = BackoffPolicy()
    failures: int = 0

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
        following = replace(self, failures=failures)
        if policy.give_up_after is not None and failures > policy.give_up_after:
            return following, None
        if failures == 1:
            return following, 0.0
        # The exponent is bounded: a float overflows at about 2 ** 1024.
        doublings = min(failures - 2, 64)
        pause = min(policy.first_pause * policy.factor**doublings, policy.longest_pause)
        return following, pause * (1.0 - policy.jitter * chance)

    def forgotten(self) -> "Backoff":
        """The state after a request to begin anew."""
        return replace(self, failures=0)
