"""Rule ``other-mount-view``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.views import Divergence, divergence
from cloister.model.finding import Finding

CODES = ("other-mount-view",)

_HOMES = ("/home/", "/root/", "/run/user/")


def check(case: Case) -> Iterator[Finding]:
    """The asker or the server has other mounts than everybody, and the socket is on them.

    What it does: compares the mount namespaces, and what the path leads to in both.

    Why bad: ProtectHome=, TemporaryFileSystem=, containers and unshare(1) hide or cover
    parts of the file system; the path exists for one of the two only.

    Example: ProtectHome=yes of the web server's unit and a socket in /home/alice.
    """
    found = divergence(case)
    if found is None or found.chrooted or found.private_tmp:
        return
    role = "the one who connects" if found.asks else "the server"
    cover = f", which has {found.cover.kind} mounted on {found.cover.point}" if found.cover else ""
    yield Finding(
        code="other-mount-view",
        seen=f"{role}, {found.process}, is in another mount namespace{cover}: {case.path} "
        "does not lead to the socket there that it leads to here",
        why="the two do not mean the same file by this path",
        cure=_cure(case, found),
    )


def _cure(case: Case, found: Divergence) -> str:
    process = found.process
    folder = (case.path or "").rpartition("/")[0]
    if process.unit is not None:
        home = f"{folder}/".startswith(_HOMES)
        # Below an inaccessible /home nothing can be mounted; below an empty one it can.
        settings = ["ProtectHome=tmpfs"] if home else []
        return cures.drop_in(process.unit, "Service", *settings, f"BindPaths={folder}")
    if found.asks and found.cover is not None:
        point = cures.quote(found.cover.point)
        return f"nsenter --target {process.pid} --mount -- umount --lazy {point}"
    return cures.restart(process, case.probes)
