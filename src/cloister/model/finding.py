"""Findings: what a diagnosis says, for a person to read and for a program to obey."""

from dataclasses import dataclass
from enum import Enum


class Confidence(Enum):
    """How sure a finding is."""

    CERTAIN = "certain"
    """The kernel or the peer itself said so."""
    LIKELY = "likely"
    """It follows from what was seen; something that could not be seen may contradict it."""
    POSSIBLE = "possible"
    """It fits what was seen, and so would other causes."""

    @property
    def rank(self) -> int:
        """0 for the surest."""
        return list(Confidence).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause of one failure."""

    code: str
    """Stable and lower case, for example ``socket-mode``; each belongs to one rule."""
    seen: str
    """The facts, as a sentence without its full stop."""
    why: str
    """Why that breaks the connection."""
    cure: str | None
    """A command for a root shell that takes the cause away, complete as it stands; ``None``
    where only a person can choose (``lasting`` then says between what)."""
    confidence: Confidence = Confidence.CERTAIN
    lasting: str | None = None
    """What keeps the cause from coming back, where the cure alone does not."""


class Outcome(Enum):
    """How the attempt to connect ended."""

    CONNECTED = "connected"
    REFUSED = "refused"
    """The kernel or the peer said no: ``Diagnosis.error`` says what."""
    NOT_TRIED = "not tried"
    """This process may not act as the one who asks; the findings rest on rules alone."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found about one way to one socket."""

    target: str
    """As the user would write it."""
    asker: str
    """Who is to connect, in words."""
    outcome: Outcome
    error: str | None
    """The failure in the kernel's words; ``None`` where there was none."""
    findings: tuple[Finding, ...]
    """The surest cause first; empty where all is well."""
    unseen: tuple[str, ...]
    """What this process may not look at, and what would show it."""

    @property
    def healthy(self) -> bool:
        """It connects, or nothing speaks against it, and there is no finding."""
        return not self.findings and self.outcome is not Outcome.REFUSED
