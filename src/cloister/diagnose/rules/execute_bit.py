"""Rule ``no-execute-bit``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.access import SEARCH
from cloister.diagnose.case import Barrier, Case
from cloister.model.finding import Finding

CODES = ("no-execute-bit",)


def check(case: Case) -> Iterator[Finding]:
    """A directory on the way that the asker may not pass.

    What it does: judges every directory of the path, links resolved, by its mode bits and the
    ids and groups of the process that asks.

    Why bad: to reach a name, the kernel wants execute (search) permission on every directory
    above it; the socket's own mode is not even looked at. Home directories are 0700 or 0750.

    Example: ``connect() to unix:/home/alice/app/app.sock failed (13: Permission denied)``,
    with ``drwx------ alice alice /home/alice`` (bepasty 277).
    """
    for barrier in case.barriers:
        if barrier.want != SEARCH or barrier.verdict.by_acl or barrier.with_account_groups:
            continue
        step = barrier.step
        owner = cures.name_of(step.uid, case.probes)
        group = case.probes.group_name(step.gid)
        who = cures.describe(case.asker.credentials, case.probes)
        yield Finding(
            code="no-execute-bit",
            seen=f"{step.path} has mode {step.mode:04o}, owner {owner}, group {group}: "
            f"{who} counts as {barrier.verdict.by} there and may not pass",
            why="whoever connects needs execute permission on every directory above the socket",
            cure=_cure(case, barrier),
            lasting="keep sockets out of home directories: /run/NAME, made by RuntimeDirectory= "
            "of the service's unit or by systemd-tmpfiles, is for this",
        )


def _cure(case: Case, barrier: Barrier) -> str:
    step = barrier.step
    path = cures.quote(step.path)
    directories = case.target.plan.directories if case.target.plan else ()
    planned = {one.path: one for one in directories if one.own}
    if step.path in planned:
        plan = planned[step.path]
        group = "" if plan.group is None else f"chgrp {cures.quote(plan.group)} {path} && "
        return f"{group}chmod {plan.mode:04o} {path}"
    if barrier.verdict.by == "other" and case.probes.has_program("setfacl"):
        user = cures.name_of(case.asker.credentials.uid, case.probes)
        return f"setfacl --modify u:{user}:x {path}"  # nobody else is let in by that
    return f"chmod {barrier.verdict.by[0]}+x {path}"
