"""Rule ``private-tmp``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.views import Divergence, divergence
from cloister.model.finding import Finding
from cloister.mounts import Mount

CODES = ("private-tmp",)


def check(case: Case) -> Iterator[Finding]:
    """The asker's or the server's /tmp is its own.

    What it does: compares what the path leads to in both views, and looks at what is
    mounted over it in the one that differs.

    Why bad: with PrivateTmp= systemd mounts a fresh folder over /tmp and /var/tmp of a
    service. Both name the same path and mean two files.

    Example: nginx under Debian's unit and a socket /tmp/app.sock (gunicorn 2399).
    """
    found = divergence(case)
    if found is None or found.chrooted or not found.private_tmp or found.cover is None:
        return
    process = found.process
    role = "the one who connects" if found.asks else "the server"
    service = process.unit or process.name
    yield Finding(
        code="private-tmp",
        seen=f"{role}, {process}, has {found.cover.root} mounted on {found.cover.point}: "
        f"{case.path} is inode {found.there.inode} outside, and not that there",
        why=f"PrivateTmp= of {service} gives it a {found.cover.point} of its own, so that "
        "the same path is another file",
        cure=_cure(case, found, found.cover),
        lasting="better: move the socket to a directory below /run, which both see, and leave "
        "PrivateTmp= on",
    )


def _cure(case: Case, found: Divergence, cover: Mount) -> str:
    process = found.process
    if process.unit is not None:
        return cures.drop_in(process.unit, "Service", "PrivateTmp=no")
    if found.asks:
        return f"nsenter --target {process.pid} --mount -- umount --lazy {cures.quote(cover.point)}"
    return cures.restart(process, case.probes)  # its socket is in what is mounted there
