"""Everything that is known about one process, for the checks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloister.audit.facts import Bounds, Host, Process, Reach
from cloister.audit.risk import Advice, Check, Question, Risk

SHOWN = 3
"""So many examples are named."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One process among the others."""

    process: Process
    reach: Reach
    bounds: Bounds
    host: Host
    same_user: tuple[str, ...]
    """Other services that run as its user."""


Judge = Callable[[Subject], tuple[str, float] | None]
"""What was seen and how much of the weight counts; ``None`` where there is no risk."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A check and its judge."""

    check: Check
    judge: Judge

    def ask(self, subject: Subject) -> Risk | None:
        """The risk, where there is one."""
        answer = self.judge(subject)
        return None if answer is None else Risk(self.check, *answer)


def rule(
    code: str,
    question: Question,
    weight: float,
    why: str,
    *,
    app: str | None = None,
    unit: str | None = None,
) -> Callable[[Judge], Rule]:
    """Makes a judge the rule of this code."""
    check = Check(code, question, weight, why, Advice(app, unit))
    return lambda judge: Rule(check, judge)


def some(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    known = sorted(names)
    more = len(known) - SHOWN
    return ", ".join(known[:SHOWN]) + (f" and {more} more" if more > 0 else "")
