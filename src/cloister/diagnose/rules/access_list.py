"""Rule ``acl-denies``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.access import SEARCH
from cloister.diagnose.case import Barrier, Case
from cloister.model.finding import Finding

CODES = ("acl-denies",)


def check(case: Case) -> Iterator[Finding]:
    """An access control list that refuses the asker, on a directory or on the socket.

    What it does: judges entries that have a POSIX access control list by acl(5), with its
    mask.

    Why bad: a list decides before the bits that `ls -l` shows; what is shown as the group's
    bits is the list's mask. `chmod g-x` on such a directory takes every named user's right.

    Example: ``user:www-data:---`` on /srv/app, or ``mask::---`` after a chmod 700.
    """
    for barrier in case.barriers:
        if not barrier.verdict.by_acl:
            continue
        step = barrier.step
        permission = "execute" if barrier.want == SEARCH else "write"
        who = cures.describe(case.asker.credentials, case.probes)
        yield Finding(
            code="acl-denies",
            seen=f"the access control list of {step.path} refuses {who} {permission} permission, "
            f"by its line {_line(case, barrier)}",
            why="the list decides before the mode bits that ls shows",
            cure=_cure(case, barrier),
        )


def _line(case: Case, barrier: Barrier) -> str:
    qualifier = barrier.verdict.qualifier
    match barrier.verdict.by:
        case "mask":
            return "mask, which bounds all the others"
        case "acl user" if qualifier is not None:
            return f"user:{cures.name_of(qualifier, case.probes)}"
        case _:
            return f"group:{'' if qualifier is None else case.probes.group_name(qualifier)}"


def _cure(case: Case, barrier: Barrier) -> str:
    user = cures.name_of(case.asker.credentials.uid, case.probes)
    permissions = "x" if barrier.want == SEARCH else "rw"
    command = f"setfacl --modify u:{user}:{permissions} {cures.quote(barrier.step.path)}"
    if case.probes.has_program("setfacl"):
        return command
    return f"apt-get install --yes acl && {command}"
