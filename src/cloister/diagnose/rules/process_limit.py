"""Rule ``process-limit``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Process
from cloister.model.finding import Finding

CODES = ("process-limit",)

_ROOM = 512


def check(case: Case) -> Iterator[Finding]:
    """The server cannot start another thread or process.

    What it does: compares the tasks of the server's control groups and of its user with
    their limits.

    Why bad: a server with a process or a thread for each connection accepts and then
    fails, or does not accept; fork(2) says "Resource temporarily unavailable".

    Example: ``TasksMax=`` of the unit reached by a leak of threads; ``ulimit -u``.
    """
    server = case.server
    if server is None:
        return
    group = case.probes.group_processes(server.pid)
    if group is not None and group[1].reached():
        folder, limit = group
        more = limit.soft + max(_ROOM, limit.soft)
        unit = server.unit
        yield Finding(
            code="process-limit",
            seen=f"{server} is in the control group {folder}, which has {limit.used} tasks of "
            f"{limit.soft}",
            why="fork(2) and threads fail there until one ends",
            cure=f"systemctl set-property {cures.quote(unit)} TasksMax={more}"
            if unit
            else f"echo {more} > {cures.quote(f'{folder}/pids.max')}",
            lasting="look whether it leaves children or threads behind",
        )
    if server.credentials.uid != 0:
        yield from _of_user(case, server)


def _of_user(case: Case, server: Process) -> Iterator[Finding]:
    limit = case.probes.user_processes(server.pid)
    if limit is None or not limit.reached():
        return
    more = (limit.used or limit.soft) + _ROOM
    yield Finding(
        code="process-limit",
        seen=f"user {cures.name_of(server.credentials.uid, case.probes)} has {limit.used} "
        f"threads, and {server} may be one of {limit.soft} (RLIMIT_NPROC)",
        why="fork(2) and threads fail until one of this user's ends",
        cure=cures.set_limit(server, "nproc", more, limit),
        lasting="LimitNPROC= in its unit; and look whether it leaves children behind",
    )
