"""From one snapshot to the next: which operations, in which order. Pure.

``cloister.apps.supervisor`` obeys them in three steps. First whatever can fail is prepared
(``cloister.apps.preparation``), in this order, and undone in the opposite one where something
does fail. Then the door takes the new snapshot, and the configuration is kept on disk: the
change has happened. What is left cannot fail: programs start, are succeeded or end, and sockets
close.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from cloister.model.app import App, SelfSignedTls
from cloister.model.errors import CloisterError
from cloister.model.listener import Address, Listener, SocketOptions, TcpAddress
from cloister.model.route import SendProxy
from cloister.model.signing import Grant
from cloister.model.snapshot import Snapshot

CHANGEABLE = frozenset({"source", "door", "listeners", "apps", "metrics", "stores"})
"""The parts of a snapshot that a running supervisor can exchange."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one listening socket stands: what makes it the same one in two snapshots.

    An address with a port of its own is enough; one whose port the kernel chooses belongs to
    its listener.
    """

    address: Address
    listener: str = ""
    number: int = 0
    """Which of its equals."""


@dataclass(frozen=True, slots=True)
class OpenListener:
    """Bind a socket that was not there."""

    place: Place
    listener: Listener

    def __str__(self) -> str:
        return f"listener {self.listener.name}: opens {self.place.address}"


@dataclass(frozen=True, slots=True)
class KeepListener:
    """Go on with a socket, for a listener that may be called otherwise from now on."""

    place: Place
    listener: Listener
    former: SocketOptions | None
    """Those that it had, where they differ from its listener's."""

    def __str__(self) -> str:
        return f"listener {self.listener.name}: {self.place.address} changes"


@dataclass(frozen=True, slots=True)
class AddApp:
    """Make an application's sockets, and start it."""

    app: App

    def __str__(self) -> str:
        return f"app {self.app.name}: added"


@dataclass(frozen=True, slots=True)
class ReplaceApp:
    """Start its successor on the same socket; once that serves, stop it."""

    app: App

    def __str__(self) -> str:
        return f"app {self.app.name}: replaced by its next version"


@dataclass(frozen=True, slots=True)
class AdjustApp:
    """Nothing of its cell differs: only what the supervisor and the door know of it."""

    app: App

    def __str__(self) -> str:
        return f"app {self.app.name}: adjusted, not restarted"


@dataclass(frozen=True, slots=True)
class TellDoor:
    """Have the door take the new snapshot."""

    def __str__(self) -> str:
        return "door: takes the new configuration"


@dataclass(frozen=True, slots=True)
class RemoveApp:
    """Stop it, then remove its sockets."""

    name: str

    def __str__(self) -> str:
        return f"app {self.name}: removed"


@dataclass(frozen=True, slots=True)
class CloseListener:
    """Whoever connects from now on is refused; open connections go on."""

    place: Place
    listener: str

    def __str__(self) -> str:
        return f"listener {self.listener}: closes {self.place.address}"


Operation = (
    OpenListener
    | KeepListener
    | AddApp
    | ReplaceApp
    | AdjustApp
    | TellDoor
    | RemoveApp
    | CloseListener
)


def places(listeners: Iterable[Listener]) -> Iterator[tuple[Place, Listener]]:
    """The place of each address, in order."""
    counts: dict[tuple[Address, str], int] = {}
    for listener in listeners:
        for address in listener.addresses:
            if not (isinstance(address, TcpAddress) and address.port == 0):
                yield Place(address), listener
                continue
            key = (address, listener.name)
            counts[key] = counts.get(key, 0) + 1
            yield Place(address, listener.name, counts[key]), listener


def changes(old: Snapshot, new: Snapshot) -> tuple[Operation, ...]:
    """What leads from ``old`` to ``new``; nothing where they are equal.

    Raises :class:`CloisterError` where only a restart of the supervisor does.
    """
    refuse_fixed(old, new)
    operations: list[Operation] = []
    before = dict(places(old.listeners))
    after = dict(places(new.listeners))
    for place, listener in after.items():
        former = before.get(place)
        if former is None:
            operations.append(OpenListener(place, listener))
        elif former != listener:
            options = former.socket if former.socket != listener.socket else None
            operations.append(KeepListener(place, listener, options))
    known = {app.name: app for app in old.apps}
    for app in new.apps:
        former_app = known.get(app.name)
        if former_app is None:
            operations.append(AddApp(app))
        elif former_app != app:
            same = same_cell(former_app, app)
            operations.append(AdjustApp(app) if same else ReplaceApp(app))
    if replace(old, source="") != replace(new, source=""):
        operations.append(TellDoor())
    names = {app.name for app in new.apps}
    operations += [RemoveApp(app.name) for app in old.apps if app.name not in names]
    operations += [
        CloseListener(place, listener.name)
        for place, listener in before.items()
        if place not in after
    ]
    return tuple(operations)


def same_cell(one: App, other: App) -> bool:
    """Whether a process of ``one`` is a process of ``other`` as well."""

    return same_in_cell(one) == same_in_cell(other)


def same_in_cell(app: App) -> App:
    """The application without what a process of it does not notice."""
    # The names are the door's business, unless a certificate is made for them; who asks for
    # metrics is the gateway's.
    hosts = app.hosts if isinstance(app.tls, SelfSignedTls) else ()
    # What is granted is the signer's; that there is a way to ask is in the cell.
    sign = (Grant(""),) if app.sign else ()
    return replace(app, hosts=hosts, send_proxy=SendProxy.NONE, metrics=None, sign=sign)


def refuse_fixed(old: Snapshot, new: Snapshot) -> None:
    """Raises :class:`CloisterError` where a part differs that is of the supervisor's start."""
    differ = [
        field.name
        for field in fields(Snapshot)
        if field.name not in CHANGEABLE and getattr(old, field.name) != getattr(new, field.name)
    ]
    if old.door.user != new.door.user:
        differ.append("door.user")
    if differ:
        raise CloisterError(
            f"{' and '.join(differ)} cannot be changed while everything runs",
            why="sockets, ids and folders of what runs depend on it",
            hint="stop the supervisor, and start it with the new configuration",
        )
