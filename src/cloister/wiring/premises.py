"""What a supervisor has of the machine's, and to whom it goes."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from cloister.apps.changes import places
from cloister.apps.endpoints import Endpoints
from cloister.apps.holder import Holder
from cloister.apps.kept import Kept
from cloister.cells.cgroups.groups import ControlGroups
from cloister.config.accepted import AcceptedStore
from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.snapshot import Snapshot
from cloister.sockets.passed import PassedSockets
from cloister.wiring.companions import SOCKETS, Companions

_DYING = 15.0
"""Seconds that processes have to end whose supervisor was killed, where nothing keeps them."""
T = TypeVar("T")


class Premises:
    """What a supervisor has and leaves: to nobody where it stops, to the next one where it
    does not even begin and the last one has left something."""

    def __init__(
        self,
        holder: Holder,
        kept: Kept,
        endpoints: Endpoints,
        store: AcceptedStore,
        groups: ControlGroups,
    ) -> None:
        self._groups = groups
        self._holder = holder
        self._kept = kept
        self._endpoints = endpoints
        self._store = store
        self._inherited = kept.anything
        self._patient = store.running
        self._begun = False

    async def occupy(
        self,
        snapshot: Snapshot,
        passed: PassedSockets,
        identify: Callable[[App], HostIdentity],
    ) -> None:
        """Bind everything, or take over what is there. Raises :class:`CloisterError`."""
        endpoints = self._endpoints
        for place, listener in places(snapshot.listeners):
            await self.bind(partial(endpoints.bind, place, listener, passed))
        for app in snapshot.apps:
            await self.bind(partial(endpoints.add_app, app, identify(app)))
        for left in self._kept.take_sockets("listener", "app"):
            left.remove()

    async def bind(self, bind: Callable[[], T]) -> T:
        """Bind something. Where the last supervisor was killed, whoever still has a socket of
        it that is not kept is about to end."""
        deadline = time.monotonic() + _DYING
        while True:
            try:
                return bind()
            except CloisterError:
                if not self._patient or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    def begin(self) -> None:
        """Everything is there: from now on it ends with a stop."""
        for left in self._kept.take_sockets(*SOCKETS):
            left.remove()
        self._store.begin()
        self._begun = True

    @property
    def _leaves(self) -> bool:
        """Whether it goes to the next one."""
        return self._inherited and not self._begun

    def give_up(self, companions: Companions) -> None:
        """The same of the sockets of the gateway and of the signer, which are theirs."""
        if self._leaves:
            companions.release()
        else:
            companions.close()

    async def leave(self) -> None:
        """Give back, or leave, everything."""
        if self._leaves:
            self._kept.leave()
            self._endpoints.release()
            self._holder.detach()
            return
        self._groups.close()
        self._endpoints.close()
        if self._begun:
            self._store.end()
        await self._holder.end()
