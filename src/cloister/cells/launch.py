"""Starts ``cloister-cell`` and watches it."""

import asyncio

from cloister.cells.plan import CellPlan


class CellProcess:
    """One running cell."""

    pid: int
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    @classmethod
    async def start(
        cls,
        plan: CellPlan,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        program: str | None = None,
        start_timeout: float = 30.0,
    ) -> "CellProcess":
        """Returns when the application has been executed.

        ``stdin``, ``stdout`` and ``stderr`` are as for ``asyncio.create_subprocess_exec``.
        The plan is closed in any case. Raises :class:`CellError`.
        """
        raise NotImplementedError

    def signal(self, signum: int) -> None:
        """Sends a signal, which ``cloister-cell`` forwards to the application."""
        raise NotImplementedError

    async def wait(self) -> int:
        """Its exit status; negative for a signal, as in asyncio.subprocess."""
        raise NotImplementedError
