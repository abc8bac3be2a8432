"""The control group of one command, which has no supervisor."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cloister.cells.cgroups.app_group import AppGroup
from cloister.cells.cgroups.groups import ControlGroups
from cloister.cells.cgroups.hierarchies import Host, discover
from cloister.cells.cgroups.tree import inner
from cloister.model.limits import Limits

_NAME = re.compile(r"cloister-run-([0-9]+)", re.ASCII)


@contextlib.contextmanager
def passing_group(name: str, limits: Limits) -> Iterator[AppGroup]:
    """A group for as long as the block runs. Those of commands whose ``cloister run`` was
    killed are ended and removed by the way.

    Raises :class:`CloisterError` where a limit cannot be had.
    """
    host = discover()
    _clear_abandoned(host)
    groups = ControlGroups(host, f"cloister-run-{os.getpid()}")
    try:
        yield groups.application(name, limits)
    finally:
        groups.close()


def _clear_abandoned(host: Host) -> None:
    names = {path.name for site in host.sites for path in inner(site.folder)}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None and not Path("/proc", match[1]).exists():
            abandoned = ControlGroups(host, name)
            abandoned.clear()
            abandoned.close()
