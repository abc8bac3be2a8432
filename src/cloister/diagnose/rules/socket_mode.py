"""Rule ``socket-mode``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.access import WRITE
from cloister.diagnose.case import Barrier, Case
from cloister.diagnose.rules.socket_group import group_may_write
from cloister.diagnose.servers import lasting_mode
from cloister.model.finding import Finding

CODES = ("socket-mode",)


def check(case: Case) -> Iterator[Finding]:
    """A socket whose mode lets nobody but its owner write.

    What it does: judges the socket by its mode and the ids and groups of the asker.

    Why bad: connect(2) needs write permission on the socket, and a socket that its server
    binds under the usual umask 022 is 0755: everybody reads, only the owner connects.

    Example: ``srwxr-xr-x alice alice /run/app/app.sock`` (uvicorn 337, romm 3809, quart 65;
    gunicorn 160: the umask of the service).
    """
    for barrier in case.barriers:
        step = barrier.step
        if barrier.want != WRITE or barrier.verdict.by_acl or barrier.with_account_groups:
            continue
        if barrier.verdict.by == "other" and group_may_write(step):
            continue  # the rule socket-group
        yield Finding(
            code="socket-mode",
            seen=f"{step.path} has mode {step.mode:04o}, owner "
            f"{cures.name_of(step.uid, case.probes)}, group {case.probes.group_name(step.gid)}: "
            f"{cures.describe(case.asker.credentials, case.probes)} counts as "
            f"{barrier.verdict.by} and may not write",
            why="connect(2) needs write permission on the socket; read and execute mean nothing",
            cure=_cure(case, barrier),
            lasting=lasting_mode(case.server),
        )


def _cure(case: Case, barrier: Barrier) -> str:
    step = barrier.step
    path = cures.quote(step.path)
    if case.target.plan is not None:
        restored = cures.restore(step, case.target.plan.options, case.probes)
        if restored is not None:
            return restored
    if barrier.verdict.by == "owner":
        return f"chmod u+w {path}"
    if barrier.verdict.by == "group":
        return f"chmod g+w {path}"
    # Only its owner connects as it is, so that nobody loses anything by another group.
    group = case.probes.group_name(case.asker.credentials.gid)
    return f"chgrp {cures.quote(group)} {path} && chmod 0660 {path}"
