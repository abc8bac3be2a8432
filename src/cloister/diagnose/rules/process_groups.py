"""Rule ``group-not-in-process``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.access import WRITE
from cloister.diagnose.case import Case
from cloister.model.finding import Finding

CODES = ("group-not-in-process",)


def check(case: Case) -> Iterator[Finding]:
    """The group database lets the user in, the running process does not know yet.

    What it does: judges every refusal once more with the groups that the database gives the
    asker's user.

    Why bad: a process gets its groups when it starts (initgroups(3)). `usermod -aG` changes
    the database and no process.

    Example: ``www-data`` is in ``app`` since this morning, nginx runs since last month.
    """
    for barrier in case.barriers:
        process = case.asker.process
        if not barrier.with_account_groups or process is None:
            continue
        step = barrier.step
        user = cures.name_of(process.credentials.uid, case.probes)
        group = case.probes.group_name(step.gid)
        need = "writing to" if barrier.want == WRITE else "passing"
        yield Finding(
            code="group-not-in-process",
            seen=f"{user} is in group {group} by the group database, but {process} is not "
            f"(/proc/{process.pid}/status), and {need} {step.path} takes that group",
            why="a process keeps the groups that it got when it started",
            cure=cures.restart(process, case.probes),
        )
