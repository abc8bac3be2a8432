"""Rule ``path-too-long``."""

import hashlib
import os
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.nginx import advice
from cloister.model.finding import Finding
from cloister.model.listener import UNIX_NAME_MAX

CODES = ("path-too-long",)


def check(case: Case) -> Iterator[Finding]:
    """The path does not fit into a socket address.

    What it does: counts bytes. The door is exempt: it connects from the socket's folder.

    Why bad: ``sun_path`` has 108 bytes, whatever the file system allows. Programs refuse
    longer paths, and some cut them off and connect elsewhere.

    Example: ``nginx: [emerg] too long path in the unix domain socket``.
    """
    path = case.path
    if path is None or case.asker.long_path:
        return
    length = len(os.fsencode(path))
    if length <= UNIX_NAME_MAX:
        return
    folder, _, name = path.rpartition("/")
    short = f"/run/s-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"
    link = f"ln --symbolic --force --no-dereference {cures.quote(folder)} {short}"
    if case.target.line is not None:
        link += f" && {advice.change(case, path, f'{short}/{name}')}"
    yield Finding(
        code="path-too-long",
        seen=f"the path has {length} bytes",
        why=f"a socket address holds {UNIX_NAME_MAX} (unix(7)); a link to the folder makes it "
        f"shorter, since only what is written there counts: {short}/{name}",
        cure=link,
        lasting=f"/run is empty after a reboot: a line in /etc/tmpfiles.d keeps the link: "
        f"L {short} - - - - {folder}",
    )
