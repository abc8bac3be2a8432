"""Rule ``open-files``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Limit, Process
from cloister.model.finding import Finding

CODES = ("open-files",)

_ENOUGH = 4096


def check(case: Case) -> Iterator[Finding]:
    """The asker or the server has used up its descriptors.

    What it does: counts /proc/PID/fd and compares with the limit.

    Why bad: each connection takes a descriptor on either side. At the limit socket(2) and
    accept(2) fail with "Too many open files", and the server's queue fills up.

    Example: ``socket() failed (24: Too many open files) while connecting to upstream``.
    """
    seen: set[int] = set()
    for role, process in (
        ("the server", case.server),
        ("the one who connects", case.asker.process),
    ):
        if process is None or process.pid in seen:
            continue
        seen.add(process.pid)
        limit = case.probes.open_files(process.pid)
        if limit is None or not limit.reached():
            continue
        yield Finding(
            code="open-files",
            seen=f"{role}, {process}, has {limit.used} files open and may have {limit.soft}",
            why="each connection takes a descriptor at both ends",
            cure=_cure(process, limit),
            lasting="LimitNOFILE= in its unit, worker_rlimit_nofile of nginx, or `limits` of a "
            "Cloister app; and look whether it forgets to close some",
        )


def _cure(process: Process, limit: Limit) -> str:
    wanted = max(_ENOUGH, limit.soft * 2)
    if limit.soft < limit.hard < wanted:
        wanted = limit.hard
    return cures.set_limit(process, "nofile", wanted, limit)
