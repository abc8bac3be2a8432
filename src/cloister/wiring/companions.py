"""The processes of Cloister's own beside the supervisor, as one: the gateway and the signer."""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from cloister.apps.kept import Kept
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.supervisor import Supervisor
from cloister.cells.identity import IdentityStore
from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.snapshot import Snapshot
from cloister.observe import gateway_program, metrics
from cloister.observe.gateway_program import MetricsGateway
from cloister.signer import KIND

if TYPE_CHECKING:
    from cloister.signer.program import SignerProgram

SOCKETS = (gateway_program.KIND, KIND)
"""What their sockets are called where they are kept."""
T = TypeVar("T")


class Binder(Protocol):
    """Calls what binds something, perhaps more than once."""

    async def __call__(self, bind: Callable[[], T]) -> T:
        """What it gives. Raises :class:`CloisterError`."""


class Companions:
    """The processes of Cloister's own beside the supervisor: the gateway for metrics, and the
    signer. Each with an id of its own, where there are ids to give."""

    def __init__(
        self,
        snapshot: Snapshot,
        supervisor: Supervisor,
        sink: Sink,
        kept: Kept,
        *,
        identify_app: Callable[[App], HostIdentity],
        door: HostIdentity,
    ) -> None:
        """``identify_app`` gives the host ids of an application, ``door`` is whom their sockets
        are open to."""
        self._snapshot = snapshot
        self._identify_app = identify_app
        self._door = door
        self._supervisor = supervisor
        self._sink = sink
        self._kept = kept
        self._signer: SignerProgram | None = None
        self._gateway: MetricsGateway | None = None

    async def bind(self, bind: Binder) -> None:
        """Bind their sockets, each by ``bind``. Raises :class:`CloisterError`."""
        if _is_asked(self._snapshot):
            self._signer = await bind(lambda: self._make_signer(self._snapshot))
        self._gateway = await bind(
            lambda: MetricsGateway(
                self._snapshot,
                partial(self._identify, gateway_program.IDENTITY),
                self._door,
                self.metrics,
                self._sink,
                kept=self._kept,
            )
        )

    def _make_signer(self, snapshot: Snapshot) -> "SignerProgram":
        # A supervisor that has nothing signed has no use for it in its memory.
        from cloister.signer import program  # noqa: PLC0415

        return program.SignerProgram(
            snapshot,
            partial(self._identify, program.IDENTITY),
            self._identify_app,
            self._sink,
            kept=self._kept,
        )

    def _identify(self, name: str) -> HostIdentity | None:
        if os.geteuid() != 0:
            return None
        paths = self._snapshot.paths
        return IdentityStore(paths.identities, self._snapshot.ids).acquire(name)

    @property
    def _all(self) -> list["SignerProgram | MetricsGateway"]:
        return [one for one in (self._signer, self._gateway) if one is not None]

    async def metrics(self) -> str:
        """Everything that is counted."""
        answered = {} if self._signer is None else self._signer.answered
        return metrics.text(await self._supervisor.status(), answered)

    def start(self) -> None:
        """Have them run."""
        for one in self._all:
            one.start()

    def adopt(self, snapshot: Snapshot) -> None:
        """Go by another snapshot."""
        if self._signer is None and _is_asked(snapshot):
            try:
                self._signer = self._make_signer(snapshot)
            except CloisterError as error:
                self._sink.emit(LogEvent("signer", str(error), Level.ERROR))
        for one in self._all:
            one.adopt(snapshot)

    def refresh(self) -> None:
        """Have files read again that are others by now."""
        if self._signer is not None:
            self._signer.refresh()

    async def stop(self) -> None:
        """Have them end, and close their sockets."""
        for one in reversed(self._all):
            await one.stop()

    def close(self) -> None:
        """Close their sockets."""
        for one in self._all:
            one.close()

    def release(self) -> None:
        """Close their sockets, and leave them to the next supervisor."""
        for one in self._all:
            one.release()


def _is_asked(snapshot: Snapshot) -> bool:
    """Whether anybody may have anything signed."""
    return any(app.sign for app in snapshot.apps) or any(one.users for one in snapshot.stores)
