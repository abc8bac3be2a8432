"""Listening sockets that outlive a restart, in the hands of the service manager."""

from collections.abc import Iterable

from cloister.apps.changes import Place
from cloister.apps.endpoints import Endpoints
from cloister.apps.service_manager import ServiceManager
from cloister.model.listener import UnixAddress


class Shelf:
    """What the service manager keeps over a restart: the listening sockets, and none that no
    listener names any more. A path is left out: its name goes when it is closed."""

    def __init__(self, endpoints: Endpoints, manager: ServiceManager) -> None:
        self._endpoints = endpoints
        self._manager = manager
        self._kept: dict[Place, str] = {}
        self._number = 0

    def fill(self) -> None:
        """The endpoints' sockets have changed."""
        places = self._endpoints.places
        for place in [place for place in self._kept if place not in places]:
            self._manager.forget(self._kept.pop(place))
        for place, endpoint in places.items():
            address = place.address
            if place in self._kept or (isinstance(address, UnixAddress) and not address.abstract):
                continue
            self._kept[place] = f"{endpoint.listener}.{self._number}"
            self._number += 1
            self._manager.store(self._kept[place], endpoint.bound.socket)

    def forget(self, names: Iterable[str]) -> None:
        """Those are of no use any more."""
        for name in names:
            self._manager.forget(name)
