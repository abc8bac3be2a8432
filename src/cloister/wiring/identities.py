"""Whom the door and the applications run as, and where one of these cannot pass."""

import os
from collections.abc import Iterable
from pathlib import Path

from cloister.apps.logs import Level, LogEvent, Sink
from cloister.cells.identity import Freed, IdentityStore
from cloister.cells.users import app_identity, named_identity
from cloister.model.app import App
from cloister.model.isolation import HostIdentity
from cloister.model.snapshot import Snapshot


class Identities:
    """The door's ids, and what gives applications their own."""

    def __init__(self, snapshot: Snapshot, sink: Sink) -> None:
        self._sink = sink
        self._store = IdentityStore(snapshot.paths.identities, snapshot.ids)
        self.door = self._store.door
        if os.geteuid() == 0 and snapshot.door.user is not None:
            self.door = named_identity(snapshot.door.user, "the door")

    def identify(self, app: App) -> HostIdentity:
        """The host ids of an application. Raises :class:`CloisterError`."""
        return app_identity(app, self._store.acquire)

    def retain(self, apps: Iterable[App]) -> None:
        """Only these have ids from now on. Says what belongs to those of others still."""
        kept = tuple(apps)
        writable = {bind.source for app in kept for bind in app.binds if bind.writable}
        for freed in self._store.retain((app.name for app in kept), sorted(writable)):
            _say_freed(freed, self._sink)


def _say_freed(freed: Freed, sink: Sink) -> None:
    """An application is configured no more: what it has left would be the next one's."""
    message = f"is configured no more: its id {freed.uid} is kept for it"
    level = Level.INFO
    if freed.leftovers:
        message += f", and still owns {', '.join(freed.leftovers)}"
        level = Level.WARNING
    sink.emit(LogEvent(freed.name, message, level))


def closed_to(path: str, identity: HostIdentity) -> str | None:
    """The first folder of ``path`` whose mode keeps ``identity`` from passing it. Looks at
    owner, group and mode alone: an access control list may say otherwise.
    """
    for folder in (*reversed(Path(path).parents), Path(path)):
        found = folder.stat()
        if found.st_uid == identity.uid:
            passable = found.st_mode & 0o100
        elif found.st_gid == identity.gid:
            passable = found.st_mode & 0o010
        else:
            passable = found.st_mode & 0o001
        if not passable:
            return str(folder)
    return None
