"""What an audit says: risks with weights, and a score that is their sum."""

from dataclasses import dataclass
from enum import Enum

from cloister.audit.facts import Origin


class Question(Enum):
    """The three questions, by the one word that heads their answers."""

    TAKEOVER = "takeover"
    """What can it do, once somebody else decides what it does?"""
    READING = "reading"
    """What can it read?"""
    EXHAUSTION = "exhaustion"
    """What can it use up?"""


@dataclass(frozen=True, slots=True)
class Advice:
    """How a risk is taken away; ``None`` where that takes more than a setting."""

    app: str | None = None
    """A line of ``[apps.NAME]``."""
    unit: str | None = None
    """A line of ``[Service]``."""

    def for_origin(self, origin: Origin) -> str | None:
        """The line for what starts the process."""
        return self.unit if origin is Origin.UNIT else self.app


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that every process is asked."""

    code: str
    """Stable and lower case: ``root-user``."""
    question: Question
    weight: float
    """What it adds to the sum where it is true in full."""
    why: str
    """What follows from it."""
    advice: Advice


@dataclass(frozen=True, slots=True)
class Risk:
    """A check that is true of a process."""

    check: Check
    seen: str
    """The facts, as a sentence without its full stop."""
    share: float = 1.0
    """How much of the check's weight counts, above 0 up to 1."""

    @property
    def points(self) -> float:
        """What it adds to the sum."""
        return self.check.weight * self.share


@dataclass(frozen=True, slots=True)
class Audit:
    """The answers for one process."""

    pid: int
    name: str
    user: int
    service: str
    origin: Origin
    risks: tuple[Risk, ...]
    """The heaviest first."""
    score: float
    """0 (nothing) to 10 (everything that is asked)."""

    def points(self, question: Question) -> float:
        """The sum for one question."""
        return sum(risk.points for risk in self.risks if risk.check.question is question)
