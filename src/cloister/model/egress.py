"""Ways out of a cell."""

from dataclasses import dataclass

from cloister.model.listener import TcpAddress, UnixAddress
from cloister.model.route import Target


@dataclass(frozen=True, slots=True)
class Egress:
    """One destination outside that an application may reach: by a name and a port, by the path
    of a Unix socket, or both."""

    name: str | None
    """What the application dials: a canonical hostname, which only its cell knows."""
    port: int | None
    """With ``name``, and only with that."""
    address: str | None
    """What the name stands for in the cell, 127.0.1.1 to 127.0.1.254."""
    target: Target
    """Where the door connects to, from outside. A name is looked up there, again and again."""
    socket: str | None = None
    """A path in the cell, absolute and normal."""

    @property
    def places(self) -> tuple[TcpAddress | UnixAddress, ...]:
        """Where the cell listens for it, in the order in which the sockets come out."""
        found: list[TcpAddress | UnixAddress] = []
        if self.address is not None and self.port is not None:
            found.append(TcpAddress(self.address, self.port))
        if self.socket is not None:
            found.append(UnixAddress(self.socket))
        return tuple(found)

    def __str__(self) -> str:
        return f"{self.name}:{self.port}" if self.name is not None else str(self.socket)
