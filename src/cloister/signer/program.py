"""The signer as a program that the supervisor keeps alive, and its listening sockets.

The supervisor opens the files with keys and gives the descriptors on; it never reads one.
"""

import contextlib
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister import wire
from cloister.apps.companion import Companion, start_companion
from cloister.apps.companion_service import CompanionService
from cloister.apps.kept import Kept
from cloister.apps.lines import Line
from cloister.apps.logs import Level, LogEvent, Sink, Value
from cloister.apps.service import ServicePlan
from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import SocketOptions, UnixAddress
from cloister.model.secret_file import exposure
from cloister.model.signing import Grant, Store
from cloister.model.snapshot import Paths, Snapshot
from cloister.signer import KIND
from cloister.signer.spec import Answered, AskerSpec, GrantSpec, Reason, SignerSpec, StoreSpec
from cloister.sockets.bind import BoundSocket

MODULE = "cloister.signer.service"
IDENTITY = "signer.signer"
"""Its name among those who have ids; no application has a dot in its name."""
WANTED = frozenset({"network", "no-new-privileges", "memory", "limits"})
"""What has to be in force around it; that something is not is said."""
_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Asker:
    """Whom a socket is for."""

    kind: str
    """``app`` or ``user``."""
    name: str
    uid: int
    address: UnixAddress
    options: SocketOptions

    @property
    def kept_as(self) -> str:
        """Under which its socket is kept for the next supervisor."""
        return f"{KIND} {self.address}"


class SignerProgram:
    """Owns the signer's sockets and keeps the signer running. Lives on one event loop."""

    def __init__(
        self,
        snapshot: Snapshot,
        identify: Callable[[], HostIdentity | None],
        identify_app: Callable[[App], HostIdentity],
        sink: Sink,
        *,
        kept: Kept | None = None,
    ) -> None:
        """Binds. ``identify`` says whom the signer becomes, ``None`` for nobody else, and is
        asked once there is one; ``identify_app`` who an application is. ``kept`` is where the
        sockets of a last supervisor are found, and kept for the next one: they are in cells
        that go on. Raises :class:`CloisterError`.
        """
        self._snapshot = snapshot
        self._identify = identify
        self._identify_app = identify_app
        self._sink = sink
        self.answered: dict[tuple[str, str, str], int] = {}
        """How often each asker, by kind and name, had each outcome."""
        self._service = CompanionService[Asker](
            ServicePlan("signer", self._launch, ready_timeout=30.0, stop_timeout=3.0),
            sink,
            kept,
            matters=self._matters,
            on_bind=self._count_from_nothing,
        )
        try:
            self._service.bind(self._askers(snapshot))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """Of the signer, while there is one."""
        return self._service.pid

    def start(self) -> None:
        """Have it run. Where nobody may ask, there is nothing to run."""
        self._service.start()

    def adopt(self, snapshot: Snapshot) -> None:
        """Go by another snapshot, and by the files with keys as they are by now. A socket that
        is in both keeps its queue, and stays in the cells where it is."""
        self._snapshot = snapshot
        self._service.adopt(self._askers(snapshot))

    def refresh(self) -> None:
        """Have the files with keys read again, where one is another by now."""
        self.adopt(self._snapshot)

    async def stop(self) -> None:
        """Have it end; then its sockets are closed."""
        await self._service.stop()
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._service.close()
        # One that was adopted does not know who has made its folder.
        with contextlib.suppress(OSError):
            Path(self._snapshot.paths.signer_app_socket("")).parent.rmdir()

    def release(self) -> None:
        """Close the sockets, and leave them to the next supervisor."""
        self._service.release()

    def _askers(self, snapshot: Snapshot) -> Iterator[Asker]:
        """Everybody who has a grant, each with a socket that nobody else can connect to."""
        for app in snapshot.apps:
            if app.sign:
                who = self._identify_app(app)
                yield Asker(
                    "app",
                    app.name,
                    who.uid,
                    UnixAddress(snapshot.paths.signer_app_socket(app.name)),
                    _options(group=who.gid),
                )
        for user in dict.fromkeys(one.user for store in snapshot.stores for one in store.users):
            uid = _uid(user)
            if uid is None:
                message = f"there is no user {user} who could have anything signed"
                self._say(message, Level.WARNING)
                continue
            if os.geteuid() not in (0, uid):
                message = f"user {user} cannot have anything signed: the supervisor is not root"
                self._say(message, Level.WARNING)
                continue
            address = UnixAddress(snapshot.paths.signer_user_socket(uid))
            yield Asker("user", user, uid, address, _options(owner=uid))

    def _count_from_nothing(self, asker: Asker, _bound: BoundSocket) -> None:
        """What never happened is a 0 from the start: the first time would be no rise."""
        for outcome in ("signed", *Reason):
            self.answered.setdefault((asker.kind, asker.name, str(outcome)), 0)

    async def _launch(self) -> Companion:
        stores = [store for store in self._snapshot.stores if _is_granted(store, self._snapshot)]
        with contextlib.ExitStack() as stack:
            mine = self._identify()
            folder = own_folder(self._snapshot.paths, mine)
            stack.callback(os.close, folder)
            keys: list[int] = []
            for store in stores:
                keys.append(open_credentials(store))
                stack.callback(os.close, keys[-1])
            return await start_companion(
                MODULE,
                lambda channel: wire.encode(
                    SignerSpec(
                        uid=None if mine is None else mine.uid,
                        gid=None if mine is None else mine.gid,
                        channel=channel,
                        folder=folder,
                        stores=tuple(map(_store_spec, stores, keys)),
                        askers=tuple(self._asker_specs()),
                    )
                ),
                [
                    folder,
                    *keys,
                    *(bound.socket.fileno() for bound in self._service.sockets.values()),
                ],
                hear=self._hear,
                tell=self._tell,
                ready=self._ready,
            )

    def _ready(self, protections: frozenset[str]) -> None:
        missing = WANTED - protections
        if missing:
            self._say(f"not in force around it: {', '.join(sorted(missing))}", Level.WARNING)

    def _asker_specs(self) -> Iterator[AskerSpec]:
        for asker, bound in self._service.sockets.items():
            yield AskerSpec(
                kind=asker.kind,
                name=asker.name,
                uid=asker.uid,
                descriptor=bound.socket.fileno(),
                grants=tuple(map(_grant_spec, _grants(asker, self._snapshot))),
            )

    def _matters(self) -> tuple[object, ...]:
        """What a running signer was told of a snapshot, and which files its keys came from."""
        grants = [(asker, _grants(asker, self._snapshot)) for asker in self._service.sockets]
        stores = [store for store in self._snapshot.stores if _is_granted(store, self._snapshot)]
        return stores, grants, [_stamp(store.credentials) for store in stores]

    async def _hear(self, line: bytes) -> None:
        try:
            answered: Answered = wire.decode(Answered, line)
        except wire.WireError as error:
            raise ValueError(error.what) from error
        key = (answered.kind, answered.name, answered.outcome)
        if key not in self.answered:
            raise ValueError("an asker or an outcome that is none")
        self.answered[key] += answered.count
        self._sink.emit(_event(answered))

    def _tell(self, line: Line) -> None:
        self._sink.emit(LogEvent("signer", line.text, fields={"event": "output"}))

    def _say(self, message: str, level: Level) -> None:
        self._sink.emit(LogEvent("signer", message, level))


def own_folder(paths: Paths, identity: HostIdentity | None) -> int:
    """The signer's own folder, which nobody else may enter: a descriptor, the caller's. Makes it
    where it is missing, and gives it to the one whom the signer becomes. Raises
    :class:`CloisterError`."""
    path = paths.signer
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path, flags)
    except OSError as error:
        raise _no_folder(path, error) from error
    try:
        os.fchmod(folder, 0o700)
        if identity is not None and os.fstat(folder).st_uid != identity.uid:
            # Another one had it: whatever that one has left there is taken as it is, by name.
            for name in os.listdir(folder):  # noqa: PTH208 - a descriptor
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                    os.chown(name, identity.uid, identity.gid, dir_fd=folder, follow_symlinks=False)
            os.fchown(folder, identity.uid, identity.gid)
    except OSError as error:
        os.close(folder)
        raise _no_folder(path, error) from error
    return folder


def _no_folder(path: str, error: OSError) -> CloisterError:
    return CloisterError(
        f"the signer's folder {path} cannot be used",
        why=os.strerror(error.errno or 0),
        hint="it remembers there what was signed: check `state-directory`",
    )


def open_credentials(store: Store) -> int:
    """The file with the keys of a store, open for reading: the caller's. Raises
    :class:`CloisterError` where others than root and this user may have anything to do with it.
    """
    what = f"the keys of {store.name} cannot be used"
    try:
        # Not blocking: a FIFO in its place must not hold up the supervisor.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(store.credentials, flags)
    except OSError as error:
        raise CloisterError(
            what,
            why=f"{store.credentials}: {os.strerror(error.errno or 0)}",
            hint="check `credentials` in [signer." + store.name + "]",
        ) from error
    found = os.fstat(descriptor)
    why = (
        exposure(found.st_uid, found.st_mode, os.geteuid())
        if stat.S_ISREG(found.st_mode)
        else "it is no file"
    )
    if why is None:
        return descriptor
    os.close(descriptor)
    raise CloisterError(
        what,
        why=f"{store.credentials}: {why}",
        hint=f"chown root {store.credentials} && chmod 0600 {store.credentials}; if others may "
        "have read it, make new keys",
    )


def _options(*, owner: int | None = None, group: int | None = None) -> SocketOptions:
    """Where an ordinary user runs everything, all are he."""
    if os.geteuid() != 0:
        owner = group = None
    return SocketOptions(
        owner=None if owner is None else str(owner),
        group=None if group is None else str(group),
        mode=0o600 if group is None else 0o660,
        directory_mode=0o711,
        backlog=_BACKLOG,
    )


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwuid(int(user)).pw_uid if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        return int(user) if user.isdecimal() else None


def _grants(asker: Asker, snapshot: Snapshot) -> tuple[Grant, ...]:
    if asker.kind == "app":
        return next((app.sign for app in snapshot.apps if app.name == asker.name), ())
    users = (one for store in snapshot.stores for one in store.users)
    return tuple(one.grant for one in users if one.user == asker.name)


def _is_granted(store: Store, snapshot: Snapshot) -> bool:
    """Whether anybody may have anything of it: else its keys have no business in the signer."""
    grants = (grant for app in snapshot.apps for grant in app.sign)
    return bool(store.users) or any(grant.store == store.name for grant in grants)


def _store_spec(store: Store, credentials: int) -> StoreSpec:
    return StoreSpec(
        name=store.name,
        endpoint=store.endpoint,
        region=store.region,
        bucket=store.bucket,
        path_style=store.path_style,
        credentials=credentials,
        source=store.credentials,
        profile=store.profile,
    )


def _grant_spec(grant: Grant) -> GrantSpec:
    return GrantSpec(
        store=grant.store,
        put=tuple(map(str, grant.put)),
        get=tuple(map(str, grant.get)),
        valid_ms=round(grant.valid * 1000),
        largest=grant.largest,
        per_day=grant.per_day,
    )


def _stamp(path: str) -> tuple[int, ...] | None:
    """What tells a file from the one that was there before."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_mode, found.st_uid


def _event(answered: Answered) -> LogEvent:
    who = f"{answered.kind} {answered.name}"
    fields: dict[str, Value] = {
        "event": "signature",
        answered.kind: answered.name,
        "outcome": answered.outcome,
        "operation": answered.operation,
        "store": answered.store,
        "key": answered.key,
        "size": answered.size,
    }
    if answered.outcome == "signed":
        message = f"{who}: signed {answered.operation} of {answered.key} in {answered.store}"
        return LogEvent("signer", message, fields=fields | {"expires": answered.expires})
    what = f"{answered.operation} of {answered.key}" if answered.key else "a request"
    if answered.count > 1:
        what = f"{answered.count} requests"
    message = f"{who}: refused {what} ({answered.outcome})"
    return LogEvent("signer", message, Level.WARNING, fields=fields)
