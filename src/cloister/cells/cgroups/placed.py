"""Groups of applications in groups of the operator's: `isolation.cgroup.path` of NGINX Unit's.

The application's own group is made in the one that is named. So what the operator has bounded
there holds for it, and what is killed and removed is never anything of somebody else's.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cloister.cells.cgroups.hierarchies import Site
from cloister.cells.cgroups.tree import (
    enable,
    kill_tree,
    make_folder,
    remove_trees,
    top,
)
from cloister.model.errors import CloisterError


@dataclass(frozen=True, slots=True)
class Placed:
    """The folders of one application's group, and the groups that were made on the way."""

    folders: tuple[tuple[str, Site], ...]
    made: tuple[str, ...]
    """Outermost first."""

    def remove(self) -> bool:
        """Kill what is in the group, and remove it; whether anything was killed."""
        killed = [kill_tree(folder, site) for folder, site in self.folders]
        remove_trees((folder for folder, _ in self.folders), killed=any(killed))
        for folder in reversed(self.made):
            with contextlib.suppress(OSError):  # somebody else has put something there
                Path(folder).rmdir()
        return any(killed)


def place(path: str, name: str, sites: Iterable[Site]) -> Placed:
    """Makes a group called ``name`` below ``path`` in every hierarchy. ``path`` begins at the
    hierarchy's first group where it is absolute, else at the supervisor's own.

    Raises :class:`CloisterError` where it cannot be made; nothing of it is left then.
    """
    folders: list[tuple[str, Site]] = []
    made: list[str] = []
    try:
        for site in sites:
            begin = top(site.folder) if path.startswith("/") else site.folder
            folder, controllers = begin.rstrip("/"), site.controllers
            for part in (*(one for one in path.split("/") if one not in ("", ".")), name):
                controllers = _controlled(folder, site, controllers)
                folder += f"/{part}"
                if not Path(folder).is_dir():
                    make_folder(folder)
                    if part != name:
                        made.append(folder)
            folders.append((folder, Site(site.version, controllers, folder)))
    except OSError as error:
        Placed(tuple(folders), tuple(made)).remove()
        raise CloisterError(
            f"no control group can be made in {path}",
            why=f"{error.filename}: {os.strerror(error.errno or 0)}",
            hint="name one in which the supervisor may make others, or leave `cgroup` out",
        ) from error
    return Placed(tuple(folders), tuple(made))


def _controlled(folder: str, site: Site, wanted: frozenset[str]) -> frozenset[str]:
    """Which controllers groups in ``folder`` have: in version 2 those that can be enabled."""
    if site.version == 1:
        return wanted
    try:
        return enable(folder, wanted)
    except OSError:
        return frozenset()  # it holds processes: groups in it are counted by it alone
