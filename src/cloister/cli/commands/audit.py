"""``cloister audit``: what a process could do, read and use up if it were taken over."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cloister.cli import output
from cloister.model.errors import UsageError, printable

if TYPE_CHECKING:
    from cloister.audit.risk import Audit


@click.command()
@click.argument("what", required=False, metavar="[APP|PID|UNIT]")
@click.option("--all", "everything", is_flag=True, help="A table over all processes.")
@output.json_option
def command(what: str | None, everything: bool, as_json: bool) -> None:
    """Ask of running processes what an attacker would ask once he is inside.

    What can it do if taken over, what can it read, what can it use up? Each answer comes with
    its weight and the setting that takes it away: a line of cloister.toml for an application,
    of [Service] for a unit. The score, 0 to 10, is the sum of the weights. Looks at modes and
    /proc, asks for quotas, reads no file, changes nothing.

    \b
    Examples:
      cloister audit nginx.service
      cloister audit --all
      cloister audit blog --json
    """
    if everything == (what is not None):
        raise UsageError("either one of APP, PID and UNIT, or --all", hint="cloister audit --all")
    from cloister.audit import auditor, choice, collect
    from cloister.audit.bounds import Groups
    from cloister.audit.reach import Reaches, unix_sockets

    host = collect.host()
    reaches, groups = Reaches(unix_sockets(host.processes)), Groups()
    audits = auditor.audit(host, choice.choose(host, what), reaches.of, groups.of)
    unseen = (*host.unseen, *reaches.unseen)
    if as_json:
        output.print_json({"unseen": unseen, "audits": audits})
        return
    for line in _table(audits) if everything else _report(audits):
        click.echo(printable(line))
    for one in unseen:
        click.echo(f"not looked at: {printable(one)}")


_QUESTIONS = {
    "takeover": "if it is taken over",
    "reading": "what it can read",
    "exhaustion": "what it can use up",
}


def _report(audits: "Sequence[Audit]") -> Iterator[str]:
    """The first in full, one line for each other."""
    first, *others = audits
    yield f"{first.name} ({first.pid}), of {first.service}, user {first.user}: {first.score:.1f}"
    for question, title in _QUESTIONS.items():
        risks = [one for one in first.risks if one.check.question.value == question]
        yield ""
        yield title if risks else f"{title}: nothing found"
        for risk in risks:
            yield f"  {risk.points:4.1f}  {risk.check.code}: {risk.seen}"
            yield f"        {risk.check.why}"
            advice = risk.check.advice.for_origin(first.origin)
            if advice is not None:
                yield f"        → {advice}"
    if others:
        yield ""
        yield "beside it:"
        yield from _table(others)


def _table(audits: "Sequence[Audit]") -> Iterator[str]:
    from cloister.audit.risk import Question

    yield "SCORE     DO  READ   USE      PID     USER  SERVICE, PROGRAM"
    for one in audits:
        parts = " ".join(f"{one.points(question):5.1f}" for question in Question)
        name = "" if one.service.startswith(one.name) else f", {one.name}"
        yield f"{one.score:5.1f}  {parts}  {one.pid:7}  {one.user:7}  {one.service}{name}"
