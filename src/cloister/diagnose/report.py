"""Diagnoses as text for a person."""

from collections.abc import Iterator, Sequence

from cloister.model.finding import Diagnosis, Finding, Outcome


def lines(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """One block for each way that fails, and a line for those that are well."""
    for diagnosis in diagnoses:
        if diagnosis.healthy and len(diagnoses) > 1:
            continue
        yield f"{diagnosis.target}, as {diagnosis.asker}: {_outcome(diagnosis)}"
        for number, finding in enumerate(diagnosis.findings, 1):
            yield ""
            yield from _finding(number, finding)
        yield ""
    healthy = sum(diagnosis.healthy for diagnosis in diagnoses)
    if len(diagnoses) > 1:
        yield f"{healthy} of {len(diagnoses)} sockets are well"
    unseen = dict.fromkeys(one for diagnosis in diagnoses for one in diagnosis.unseen)
    if unseen:
        yield "not looked at:"
        yield from (f"  {one}" for one in unseen)


def _outcome(diagnosis: Diagnosis) -> str:
    match diagnosis.outcome:
        case Outcome.CONNECTED:
            return "connects" if diagnosis.findings else "connects, and nothing is wrong"
        case Outcome.REFUSED:
            return f"fails ({diagnosis.error})"
        case Outcome.NOT_TRIED:
            verdict = "should fail" if diagnosis.findings else "nothing speaks against it"
            return f"not tried, {verdict}"


def _finding(number: int, finding: Finding) -> Iterator[str]:
    yield f"{number}. {finding.code} ({finding.confidence.value})"
    yield f"   seen   {finding.seen}"
    yield f"   why    {finding.why}"
    if finding.cure is not None:
        yield f"   cure   {finding.cure}"
    if finding.lasting is not None:
        yield f"   later  {finding.lasting}"
