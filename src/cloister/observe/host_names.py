"""The names in hosts directories, for those who look on: bounded, whatever the directory holds."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cloister.apps.status import ListenerStatus
from cloister.hosts.directory import Host, HostsDirectory
from cloister.hosts.lookup import HANDOFF_SOCKET, PROTOCOLS, SOCKET
from cloister.model.errors import CloisterError

NAMES = 200
"""Of one directory."""
_PROTOCOLS = 8
"""Of one name."""
_SOCKETS = {"relay": SOCKET, "handoff": HANDOFF_SOCKET}

Place = tuple[str, bool]
"""A directory, and whether its folders are called by hashes."""


@dataclass(frozen=True, slots=True)
class HostName:
    """One entry of a hosts directory."""

    name: str
    """A hostname, ``*.parent`` or ``_default``; a hash where the folders are called so."""
    targets: tuple[str, ...]
    """``tls-socket`` or ``handoff-socket`` where one of them serves, and ``alpn/ID``."""
    owner: str | None
    """Who may decide what is behind the name."""
    state: str
    """``serving`` or ``refused``."""
    problem: str | None
    """Why it does not serve."""


@dataclass(frozen=True, slots=True)
class HostNames:
    """What is in one hosts directory."""

    names: tuple[HostName, ...]
    more: bool = False
    """Whether there are others, which were not looked at."""
    problem: str | None = None
    """Why it could not be looked at."""


def places(listeners: Iterable[ListenerStatus]) -> frozenset[Place]:
    """The directories that listeners look names up in."""
    return frozenset(
        (one.hosts_directory, one.hashed) for one in listeners if one.hosts_directory is not None
    )


def look(place: Place) -> HostNames:
    """Looks at no more than :data:`NAMES` entries and connects to nothing. Blocks for the file
    system; never raises. Whether the door's user may connect is left to doctor."""
    path, hashed = place
    try:
        directory = HostsDirectory(Path(path), hashed=hashed)
        hosts, more = directory.some(NAMES)
        return HostNames(tuple(_name(directory, host) for host in hosts), more)
    except CloisterError as error:
        return HostNames((), problem=str(error))
    except OSError as error:
        return HostNames((), problem=f"{path}: {os.strerror(error.errno or 0)}")


def _name(directory: HostsDirectory, host: Host) -> HostName:
    targets = [_SOCKETS[host.kind]] if host.kind is not None else []
    targets += [f"{PROTOCOLS}/{one}" for one in directory.protocols(host, _PROTOCOLS)]
    return HostName(
        name=host.name or host.entry or "",
        targets=tuple(targets),
        owner=host.owner,
        state=host.state,
        problem=host.problem,
    )
