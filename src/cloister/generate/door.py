"""How ``cloister-door`` is called, whoever starts it."""

from dataclasses import dataclass

from cloister.generate import checks
from cloister.model.errors import UsageError

DRAIN = 10.0
"""Seconds that ``cloister-door`` gives open connections after a signal to stop, unless told."""


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """How a door runs. ``None`` leaves the program's or its starter's own default."""

    user: str | None = None
    """Of the host."""
    groups: tuple[str, ...] = ()
    """Supplementary ones, for targets that a group may reach."""
    exit_idle: float | None = None
    """Seconds without a connection after which the door ends; the next connection starts it
    again."""
    connections: int | None = None
    """At once; 0: no bound."""
    drain: float | None = None
    """Seconds for open connections after a signal to stop."""
    oom_score_adjust: int | None = None

    def __post_init__(self) -> None:
        if self.user is not None:
            checks.account(self.user, "user")
        for group in self.groups:
            checks.account(group, "group")
        for number, what in ((self.exit_idle, "exit-idle"), (self.drain, "drain")):
            if number is not None and not 0 <= number <= 86400:
                raise UsageError(f"{number:g} seconds cannot be --{what}", hint="0 to 86400")
        if self.connections is not None and not 0 <= self.connections < 2**32:
            raise UsageError(f"{self.connections} cannot be a number of connections")
        score = self.oom_score_adjust
        if score is not None and not -1000 <= score <= 1000:
            raise UsageError(f"{score} cannot be an OOM score adjustment", hint="-1000 to 1000")

    @property
    def has_identity(self) -> bool:
        """Whether the service has another identity than the default."""
        return self.user is not None or bool(self.groups)

    def relay_arguments(self) -> list[str]:
        """Those of ``cloister-door relay``, without blanks in any of them."""
        return self._arguments("--connections-max")

    def sni_arguments(self) -> list[str]:
        """Those of ``cloister-door sni``, without blanks in any of them."""
        return self._arguments("--connections")

    def _arguments(self, connections: str) -> list[str]:
        given = {
            "--exit-idle-time": self.exit_idle,
            connections: self.connections,
            "--drain": self.drain,
        }
        return [f"{name}={_plain(number)}" for name, number in given.items() if number is not None]


def _plain(number: float) -> str:
    """Without an exponent, and without a fraction where there is none."""
    return str(int(number)) if number == int(number) else f"{number:.3f}"
