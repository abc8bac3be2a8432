"""Rule ``socket-group``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.access import WRITE
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Step
from cloister.model.finding import Finding

CODES = ("socket-group",)


def group_may_write(step: Step) -> bool:
    """Whether membership in the group is all that is missing."""
    return bool(step.mode & 0o020)


def check(case: Case) -> Iterator[Finding]:
    """A socket that its group may write to, and an asker who is not in it.

    What it does: compares the socket's group with those of the asker, who is not in it by
    the group database either.

    Why bad: the group is how sockets are shared. Often the server made it with its own.

    Example: ``srw-rw---- app app /run/app.sock`` and nginx's workers in www-data only.
    """
    for barrier in case.barriers:
        step = barrier.step
        if barrier.want != WRITE or barrier.verdict.by != "other" or barrier.with_account_groups:
            continue
        if not group_may_write(step):
            continue
        yield Finding(
            code="socket-group",
            seen=f"{step.path} (mode {step.mode:04o}) is for group "
            f"{case.probes.group_name(step.gid)}, which "
            f"{cures.describe(case.asker.credentials, case.probes)} is not in",
            why="connect(2) needs write permission on the socket, and only its owner and its "
            "group have it",
            cure=_cure(case, step),
            lasting="have whoever makes the socket give it this group: SocketGroup= of a socket "
            "unit, `group` of a Cloister listener, listen.group of php-fpm",
        )


def _cure(case: Case, step: Step) -> str:
    probes, asker = case.probes, case.asker
    if case.target.plan is not None:
        restored = cures.restore(step, case.target.plan.options, probes)
        if restored is not None:
            return restored
    user = probes.account(asker.credentials.uid)
    owner = probes.account(step.uid)
    group = probes.group_name(step.gid)
    shared = step.gid != 0 and not group.isdecimal() and not (owner and owner[0] == group)
    if user is not None and shared and asker.process is not None:
        join = f"usermod --append --groups {cures.quote(group)} {cures.quote(user[0])}"
        return f"{join} && {cures.restart(asker.process, probes)}"
    # A user's own group opens all his files; the asker's opens this socket only.
    own = probes.group_name(asker.credentials.gid)
    return f"chgrp {cures.quote(own)} {cures.quote(step.path)}"
