"""Asks every rule about a case, and puts what they found in order."""

import errno
from collections.abc import Iterator

from cloister.diagnose.asker import Asker
from cloister.diagnose.case import Case
from cloister.diagnose.probes.protocol import Probes
from cloister.diagnose.rules import RULES
from cloister.diagnose.target import Target
from cloister.model.finding import Confidence, Diagnosis, Finding, Outcome


def diagnose(target: Target, asker: Asker, probes: Probes) -> Diagnosis:
    """One way to one socket. Connects, changes nothing, and blocks for as long as the peer
    takes, at most a few seconds."""
    case = Case(target, asker, probes)
    findings = [finding for rule in RULES for finding in rule(case)]
    attempt = case.attempt
    if not findings and attempt is not None and attempt.error:
        findings += _unexplained(case)
    # Stable: within one confidence the rules' own order counts.
    findings.sort(key=lambda finding: finding.confidence.rank)
    if attempt is None:
        outcome = Outcome.NOT_TRIED
    else:
        outcome = Outcome.REFUSED if attempt.error else Outcome.CONNECTED
    return Diagnosis(
        target=str(target),
        asker=str(asker),
        outcome=outcome,
        error=attempt.words if attempt else None,
        findings=tuple(findings),
        unseen=probes.unseen(),
    )


def _unexplained(case: Case) -> Iterator[Finding]:
    """The kernel refused and no rule knows why: said rather than left out."""
    attempt = case.attempt
    if attempt is None:
        return
    denied = attempt.error in (errno.EACCES, errno.EPERM)
    yield Finding(
        code="unexplained",
        seen=f"connecting to {case.target} as {case.asker} fails: {attempt.words}",
        why="modes, lists, groups and views allow it; a security module whose log is not "
        "readable here may be the one that refuses"
        if denied
        else "no rule fits this failure",
        cure=None,
        confidence=Confidence.POSSIBLE,
        lasting="`cloister doctor` as root sees more; strace -f -e connect -p PID shows the call",
    )
