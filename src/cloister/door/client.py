"""Drives one ``cloister-door`` process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.door.messages import Protection, Snapshot, Statistics
from cloister.model.isolation import HostIdentity


@dataclass(frozen=True, slots=True)
class DoorLaunch:
    """How a door is started."""

    program: str
    """The absolute path of ``cloister-door``."""
    identity: HostIdentity | None = None
    """Whom it becomes; ``None`` leaves it the supervisor's own user."""
    start_timeout: float = 10.0
    """Seconds until it must be ready."""
    reply_timeout: float = 5.0
    """Seconds until it must answer a request."""


class DoorProcess:
    """One running ``cloister-door``."""

    pid: int
    protections: tuple[Protection, ...]
    records: asyncio.StreamReader
    messages: asyncio.StreamReader

    @classmethod
    async def start(cls, launch: DoorLaunch) -> "DoorProcess":
        """A confined door that waits for its first snapshot."""
        raise NotImplementedError

    async def apply(self, snapshot: Snapshot, descriptors: Sequence[int]) -> None:
        """Replaces the running snapshot; the descriptors stay the caller's."""
        raise NotImplementedError

    async def stats(self) -> Statistics:
        """All counters since the door started."""
        raise NotImplementedError

    async def drain(self, deadline: float) -> int:
        """Closes the door's listeners; open connections are cut after ``deadline`` seconds.
        Returns how many are open.
        """
        raise NotImplementedError

    async def wait(self) -> int:
        """Its exit status; negative for a signal, as in asyncio.subprocess."""
        raise NotImplementedError

    def kill(self) -> None:
        """Ends it at once (SIGKILL). Does nothing when it has ended."""
        raise NotImplementedError
