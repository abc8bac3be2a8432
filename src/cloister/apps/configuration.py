"""The running configuration: what it is, and the one way to another."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from cloister.apps.supervisor import Supervisor
from cloister.config.accepted import AcceptedStore
from cloister.config.apart import Checker
from cloister.model.configuration import Accepted, Configuration, Dialect
from cloister.model.errors import CloisterError


class ConflictError(CloisterError):
    """Somebody else has changed the configuration meanwhile."""


class RunningConfiguration:
    """Exchanges what a supervisor runs. Lives on the supervisor's event loop.

    A text is checked in a process apart, is applied, and is on the disk when it is accepted;
    one that is refused changes nothing at all. One change at a time: others wait.
    """

    def __init__(
        self,
        accepted: Accepted,
        store: AcceptedStore,
        supervisor: Supervisor,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``accepted`` is what the supervisor runs already, and ``store`` holds it.
        ``on_change`` is called after each change."""
        self._accepted = accepted
        self._store = store
        self._supervisor = supervisor
        self._on_change = on_change
        self._changing = asyncio.Lock()
        self._checker = Checker()

    def current(self) -> Accepted:
        """What runs."""
        return self._accepted

    async def replace(
        self, text: str, dialect: Dialect, *, expected: int | None = None
    ) -> Accepted:
        """Run this text from now on; relative paths in it begin where they do now.

        ``expected`` is the version that the text was made from, where that matters. Returns
        once it is in force and on the disk; new and changed applications are starting then.
        Raises :class:`ConfigError` with every problem of the text, :class:`ConflictError`
        where another version runs, and :class:`CloisterError` where it cannot be applied.
        """
        async with self._changing:
            if expected is not None and expected != self._accepted.version:
                raise ConflictError(
                    f"the configuration is version {self._accepted.version} by now",
                    why=f"the change was made from version {expected}",
                    hint="read it again, then repeat the change",
                )
            configuration = replace(self._accepted.configuration, text=text, dialect=dialect)
            return await self._accept(configuration, self._accepted.file)

    async def reread(self) -> Accepted | None:
        """Take the file that the configuration came from, where somebody has edited it since
        it was last read; ``None`` where nobody has. Raises as :meth:`replace`."""
        async with self._changing:
            configuration = await self._checker.read(self._accepted.configuration.source)
            if configuration.digest == self._accepted.file:
                return None
            return await self._accept(configuration, configuration.digest)

    async def close(self) -> None:
        """Ends what was kept for the next change. Idempotent."""
        await self._checker.close()

    async def _accept(self, configuration: Configuration, file: str) -> Accepted:
        snapshot = await self._checker.check(configuration)
        accepted = Accepted(self._accepted.version + 1, configuration, file, time.time())
        await self._supervisor.apply(snapshot, lambda: self._store.write(accepted))
        self._accepted = accepted
        self._on_change()
        return accepted
