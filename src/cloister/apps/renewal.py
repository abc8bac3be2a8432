"""Has the certificates of applications followed by new ones, long before they end."""

import asyncio
import time
from collections.abc import Callable

from cloister.apps.certificates import RENEWAL, Certificates
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.model.errors import CloisterError

RETRY = 24 * 3600.0
"""Seconds until the next try where new ones could not be made."""


class Renewal:
    """Lives on one event loop."""

    def __init__(self, certificates: Certificates, sink: Sink, renewed: Callable[[], None]) -> None:
        """``renewed`` is called each time when there are new ones."""
        self._certificates = certificates
        self._sink = sink
        self._renewed = renewed
        self._going_on: asyncio.Task[None] | None = None

    def begin(self, since: float) -> None:
        """Where there are certificates, look after them from now on, if that is not done yet.
        ``since`` is when the oldest that is in use was made, in seconds since 1970-01-01 UTC."""
        if self._going_on is None and self._certificates.path is not None:
            self._going_on = asyncio.create_task(self._go_on(since))

    def cancel(self) -> None:
        """Nothing is renewed any more."""
        if self._going_on is not None:
            self._going_on.cancel()

    async def _go_on(self, since: float) -> None:
        pause = max(0.0, since + RENEWAL - time.time())
        while True:
            await asyncio.sleep(pause)
            try:
                await self._certificates.renew()
            except CloisterError as error:
                message = f"certificates are not renewed, next try in a day: {error}"
                self._sink.emit(LogEvent("cloister", message, Level.ERROR))
                pause = RETRY
                continue
            pause = RENEWAL
            self._renewed()
