"""What rules may ask. The only way from a rule to the machine."""

from typing import Protocol

from cloister.diagnose.facts import (
    Attempt,
    Credentials,
    Limit,
    Place,
    Process,
    TcpListener,
    Unit,
    UnixSocket,
    Walk,
)
from cloister.mounts import Mount


class Probes(Protocol):
    """Looks at one host and changes nothing. No method raises for what it may not look at:
    the answer is then empty, and :meth:`unseen` says so in the end."""

    @property
    def own(self) -> Process:
        """The process that looks."""
        ...

    def walk(self, path: str, view: Process | None = None) -> Walk:
        """A path as ``view`` sees it; ``None`` for this process."""
        ...

    def process(self, pid: int) -> Process | None:
        """One process; ``None`` where there is none."""
        ...

    def named(self, name: str) -> tuple[Process, ...]:
        """Every process of this ``comm``."""
        ...

    def mounts(self, view: Process | None = None) -> tuple[Mount, ...]:
        """The mounts of a view."""
        ...

    def account(self, uid: int) -> tuple[str, frozenset[int]] | None:
        """A user's name and all groups that the group database gives him."""
        ...

    def group_name(self, gid: int) -> str:
        """The group's name, or its number."""
        ...

    def connect(
        self,
        place: Place,
        who: Credentials,
        view: Process | None = None,
        *,
        send: bytes = b"",
        long_path: bool = False,
    ) -> Attempt | None:
        """Connects as somebody; ``None`` where this process may not act as him."""
        ...

    def unix_sockets(self) -> tuple[UnixSocket, ...]:
        """Every bound Unix socket of this network namespace."""
        ...

    def tcp_listeners(self, view: Process | None = None) -> tuple[TcpListener, ...]:
        """Every listening TCP socket of a view's network."""
        ...

    def listening_elsewhere(self, place: Place) -> tuple[Process, ...]:
        """One process of each other network namespace in which something listens there."""
        ...

    def holders(self, inode: int) -> tuple[Process, ...]:
        """Who has this socket open."""
        ...

    def open_files(self, pid: int) -> Limit | None:
        """Descriptors and their limit."""
        ...

    def user_processes(self, pid: int) -> Limit | None:
        """The threads of the process's user and their limit."""
        ...

    def group_processes(self, pid: int) -> tuple[str, Limit] | None:
        """The tightest control group above a process, as its folder, and its bound."""
        ...

    def setting(self, name: str) -> str | None:
        """A file below /proc/sys."""
        ...

    def units(self) -> tuple[Unit, ...]:
        """The socket and service units of systemd that are loaded or could be."""
        ...

    def denials(self) -> tuple[str, ...]:
        """Lines of the audit and kernel logs in which a security module refused something, or
        got another policy."""
        ...

    def read(self, path: str, view: Process | None = None) -> str | None:
        """A small text file; ``None`` where there is none."""
        ...

    def names(self, folder: str) -> tuple[str, ...]:
        """What a folder has, in order; nothing where there is none."""
        ...

    def has_program(self, name: str) -> bool:
        """Whether a command can be found."""
        ...

    def unseen(self) -> tuple[str, ...]:
        """What could not be looked at, each with what would help."""
        ...
