"""Rule ``chroot``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.views import divergence
from cloister.model.finding import Finding

CODES = ("chroot",)


def check(case: Case) -> Iterator[Finding]:
    """The asker's root directory is another one.

    What it does: reads /proc/PID/root, and walks the path from there.

    Why bad: a path of a process in a chroot begins at its own root. The socket is outside,
    and no permission helps.

    Example: ``chroot = /srv/www`` in a pool of php-fpm whose scripts connect to
    /run/mysqld/mysqld.sock.
    """
    found = divergence(case)
    if found is None or not found.chrooted:
        return
    process = found.process
    folder = (case.path or "").rpartition("/")[0]
    inside = f"{(process.root or '').rstrip('/')}{folder}"
    enter = ""
    if process.namespaces.mount != case.probes.own.namespaces.mount:
        enter = f"nsenter --target {process.pid} --mount -- "
    here, there = cures.quote(folder), cures.quote(inside)
    if not found.asks:
        here, there = there, here
    yield Finding(
        code="chroot",
        seen=f"the root directory of {process} is {process.root}: for it {case.path} would be "
        f"{inside}/{(case.path or '').rpartition('/')[2]}",
        why="a path begins at the root directory of the process that uses it",
        cure=f"{enter}mkdir --parents {there} && {enter}mount --bind {here} {there}"
        if not found.asks or case.is_roots(folder)
        else None,
        lasting=f"a line in /etc/fstab keeps it: {here} {there} none bind 0 0",
    )
