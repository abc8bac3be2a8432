"""The bound of one command on disks, which has no supervisor."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from cloister.cells.quotas.bounds import DiskBounds
from cloister.cells.quotas.projects import PASSING, ProjectStore
from cloister.model.app import App
from cloister.model.disk import is_bounded


@contextlib.asynccontextmanager
async def passing_bound(app: App, store: ProjectStore) -> AsyncIterator[None]:
    """Bounds what ``app`` may have on disks, as long as the block runs. Afterwards what it has
    written counts for nobody, and so does what commands have left whose ``cloister run`` was
    killed.

    Raises :class:`CloisterError` where the bound cannot be had.
    """
    if not is_bounded(app):
        yield
        return
    bounds = DiskBounds(store)
    if os.geteuid() == 0:
        for name in _abandoned(store):
            await bounds.dissolve(name)
    name = f"{PASSING}{os.getpid()}"
    try:
        await bounds.enforce(app, name)
        yield
    finally:
        if os.geteuid() == 0:
            await bounds.dissolve(name)


def _abandoned(store: ProjectStore) -> list[str]:
    """The names of commands whose ``cloister run`` has ended without a word."""
    passing = [name for name in store.names() if name.startswith(PASSING)]
    return [name for name in passing if not Path("/proc", name.removeprefix(PASSING)).exists()]
