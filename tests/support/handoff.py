"""A target that gets connections themselves, taken by hand."""

import socket
from pathlib import Path
from types import TracebackType

from tests.support.peers import STEP, HostsDirectory, Peer

from cloister.handoff import HandedOffSocket, Handoff, HandoffListener


class HandedOff(Peer):
    """A client's own connection, and what the door said of it."""

    def __init__(self, connection: HandedOffSocket, address: tuple[str, int]) -> None:
        super().__init__(connection)
        self.said: Handoff = connection.handoff
        self.client = address


class HandoffTarget:
    """A listening handoff socket. It owns the connections that it accepts."""

    def __init__(self, path: Path, *, mode: int = 0o666, backlog: int = 128) -> None:
        self.path = path
        self._accepted: list[HandedOff] = []
        self.socket = HandoffListener(path, mode=mode, backlog=backlog)
        self.socket.settimeout(STEP)

    @classmethod
    def of(cls, hosts: HostsDirectory, name: str, *, backlog: int = 128) -> "HandoffTarget":
        """The one of the host ``name``."""
        return cls(hosts.folder(name) / "handoff-socket", backlog=backlog)

    def accept(self) -> HandedOff:
        """The next connection."""
        connection, address = self.socket.accept()
        assert isinstance(connection, HandedOffSocket)
        self._accepted.append(HandedOff(connection, address))
        return self._accepted[-1]

    def close(self) -> None:
        """Closes the socket and all that it accepted, and removes its path."""
        self.socket.close()
        for peer in self._accepted:
            peer.close()

    def __enter__(self) -> "HandoffTarget":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def silent_socket(path: Path, *, backlog: int) -> socket.socket:
    """A handoff socket whose queue nobody takes from."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(path))
    path.chmod(0o666)
    listening.listen(backlog)
    return listening
