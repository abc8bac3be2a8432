"""From an application to the cell that it runs in."""

import socket
from collections.abc import Sequence

from cloister.cells.spec import Spec
from cloister.model.app import App, Credential
from cloister.model.isolation import HostIdentity


class CellPlan:
    """A cell's specification and the descriptors that it names."""

    def __init__(self, spec: Spec, inherited: Sequence[int], opened: Sequence[int]) -> None:
        self.spec = spec
        self.descriptors = (*inherited, *opened)
        """What ``cloister-cell`` must inherit, under these very numbers."""
        self._opened = list(opened)

    def close(self) -> None:
        """Closes what the plan opened for itself (credentials); idempotent."""


def build_cell(
    app: App,
    identity: HostIdentity,
    listening: socket.socket | None,
    *,
    command: Sequence[str] | None = None,
    credentials: Sequence[Credential] = (),
    environment: Sequence[tuple[str, str]] = (),
    notify_socket: str | None = None,
) -> CellPlan:
    """The default cell of ``app``.

    ``command`` replaces the application's own program; without it a Python program is
    ``python -m cloister.apps.servers MODULE:CALLABLE``. ``credentials`` and
    ``environment`` add to the application's own (a certificate and its key come as
    credentials). ``notify_socket`` is the host path of a bound datagram socket, seen in
    the cell as ``$NOTIFY_SOCKET``. ``listening`` stays the caller's.
    """
    raise NotImplementedError
