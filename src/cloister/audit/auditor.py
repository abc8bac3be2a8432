"""Asks every rule about every process, and adds up."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from cloister.audit import exhaustion, reading, takeover
from cloister.audit.facts import Bounds, Host, Process, Reach
from cloister.audit.risk import Audit
from cloister.audit.subject import Rule, Subject

RULES: tuple[Rule, ...] = (*takeover.RULES, *reading.RULES, *exhaustion.RULES)
TOTAL = sum(rule.check.weight for rule in RULES)
HIGHEST = 10.0


def audit(
    host: Host,
    chosen: Iterable[Process],
    reach: Callable[[Process], Reach],
    bounds: Callable[[Process], Bounds],
) -> Sequence[Audit]:
    """The audits of ``chosen``, the highest score first."""
    by_pid = {process.pid: process for process in host.processes}
    users: dict[int, set[str]] = defaultdict(set)
    for process in host.processes:
        users[process.identity.uid].add(_family(process, by_pid))
    audits = []
    for process in chosen:
        others = users[process.identity.uid] - {_family(process, by_pid)}
        same_user = tuple(sorted(others))
        audits.append(_one(Subject(process, reach(process), bounds(process), host, same_user)))
    return sorted(audits, key=lambda one: (-one.score, one.pid))


def _family(process: Process, by_pid: dict[int, Process]) -> str:
    """Its service; outside of cells and units, the oldest ancestor with the same user: a
    program's own workers are no strangers to it."""
    while process.app is None and process.unit is None:
        parent = by_pid.get(process.parent)
        if parent is None or parent.identity.uid != process.identity.uid or parent.pid == 1:
            break
        process = parent
    return process.service


def _one(subject: Subject) -> Audit:
    risks = [risk for rule in RULES if (risk := rule.ask(subject)) is not None]
    risks.sort(key=lambda risk: -risk.points)
    process = subject.process
    return Audit(
        pid=process.pid,
        name=process.name,
        user=process.identity.uid,
        service=process.service,
        origin=process.origin,
        risks=tuple(risks),
        score=round(HIGHEST * sum(risk.points for risk in risks) / TOTAL, 1),
    )
