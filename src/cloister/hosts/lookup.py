"""Which folder of a hosts directory serves a name, by the door's own rules.

``docs/hosts-directory.md`` states them, ``crates/door/src/route/hosts_directory`` obeys them for
connections, this module explains them to people: it looks at names, one after the other, and
connects to nothing. ``tests/e2e/door/test_hosts_agreement.py`` holds both to the same answers.
"""

import os
import stat
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path

from cloister.hosts.hashed import hashed_name

SOCKET = "tls-socket"
HANDOFF_SOCKET = "handoff-socket"
DEFAULT = "_default"
PROTOCOLS = "alpn"

_LINKS = 40
"""path_resolution(7)."""
_COMPONENTS = 256
_UNESCAPED = "!#$&'*+-.^_`|~"


class Kind(Enum):
    """How a folder takes connections."""

    RELAY = "relay"
    HANDOFF = "handoff"


class RefusedError(Exception):
    """A folder is there and does not serve; the message says why."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What the door would connect to."""

    entry: str
    """The entry of the hosts directory that decides."""
    socket: Path
    """As it is named in the folder, links not followed."""
    resolved: str
    """The same below the hosts directory, links followed."""
    target: os.stat_result
    """Of the socket that all links lead to."""
    kind: Kind
    send_proxy: str
    """``none``, ``v1`` or ``v2``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a name."""

    entry: str | None
    """The entry that decides; ``None`` where there is none."""
    serving: Serving | None
    refused: str | None
    """Why it does not serve."""
    passed_over: tuple[str, ...]
    """What was looked at before, and why it does not count."""


@dataclass(frozen=True, slots=True)
class _Reached:
    place: tuple[str, ...]
    """The folder below the hosts directory that holds it; of a folder, the folder itself."""
    name: str
    """Empty for a folder."""
    state: os.stat_result


def folder_name(name: str, *, hashed: bool) -> str:
    """What the folder of a canonical hostname, of ``*.parent`` or of ``_default`` is called."""
    return hashed_name(name) if hashed and name != DEFAULT else name


def protocol_name(identifier: bytes) -> str:
    """What the folder of a protocol is called (RFC 7639 section 2.1)."""
    return "".join(
        chr(byte)
        if ((chr(byte).isascii() and chr(byte).isalnum()) or chr(byte) in _UNESCAPED)
        and (index, byte) != (0, ord("."))
        else f"%{byte:02X}"
        for index, byte in enumerate(identifier)
    )


def look_up(root: Path, name: str | None, protocol: bytes = b"", *, hashed: bool = False) -> Answer:
    """Says what serves a client that asks for ``name``, and prefers ``protocol``.

    Args:
        root: the hosts directory.
        name: a canonical hostname; ``None`` for a client that sends none.
        protocol: an ALPN identifier; empty where the client offers none.
        hashed: whether the folders are called by hashes.

    Raises :class:`OSError` where the directory itself cannot be looked at.
    """
    owner = root.stat().st_uid
    passed_over: list[str] = []
    for candidate in _candidates(name):
        entry = folder_name(candidate, hashed=hashed)
        try:
            state = (root / entry).lstat()
        except FileNotFoundError:
            passed_over.append(f"{entry}: there is none")
            continue
        if candidate != name and state.st_uid not in {0, owner}:
            passed_over.append(f"{entry}: {_no_right(state.st_uid)}")
            continue
        return _answer(root, entry, protocol, tuple(passed_over))
    return Answer(None, None, "no folder takes this name", tuple(passed_over))


def look_up_entry(root: Path, entry: str, *, shared: bool) -> Answer:
    """Says whether one entry serves those who come to it. ``shared``: it is a ``*.parent``."""
    owner = (root / entry).lstat().st_uid
    if shared and owner not in {0, root.stat().st_uid}:
        return Answer(entry, None, _no_right(owner), ())
    return _answer(root, entry, b"", ())


def protocols(root: Path, entry: str, limit: int) -> tuple[str, ...]:
    """The names of the folders for single protocols in an entry, as they are escaped there; at
    most ``limit``, in no order that means anything."""
    try:
        place = _folder(_walk(root, _folder(_walk(root, (), entry)), PROTOCOLS))
        with os.scandir(root.joinpath(*place)) as found:
            return tuple(sorted(one.name for one in islice(found, limit)))
    except (RefusedError, OSError):
        return ()


def _no_right(uid: int) -> str:
    return (
        f"it belongs to user {uid}, and counts only where root or the owner of the directory "
        "owns it"
    )


def _answer(root: Path, entry: str, protocol: bytes, passed_over: tuple[str, ...]) -> Answer:
    try:
        return Answer(entry, _serve(root, entry, protocol), None, passed_over)
    except RefusedError as refused:
        return Answer(entry, None, str(refused), passed_over)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return Answer(entry, None, why, passed_over)


def _candidates(name: str | None) -> list[str]:
    if name is None:
        return [DEFAULT]
    _, dot, parent = name.partition(".")
    return [name, *([f"*.{parent}"] if dot else []), DEFAULT]


def _serve(root: Path, entry: str, protocol: bytes) -> Serving:
    place = _folder(_walk(root, (), entry))
    if protocol and _exists(root, place, PROTOCOLS):
        protocols = _folder(_walk(root, place, PROTOCOLS))
        name = protocol_name(protocol)
        if len(name) <= os.pathconf(root, "PC_NAME_MAX") and _exists(root, protocols, name):
            place = _folder(_walk(root, protocols, name))
    if _exists(root, place, HANDOFF_SOCKET):
        try:
            return _socket(root, entry, place, Kind.HANDOFF)
        except RefusedError:
            if not _exists(root, place, SOCKET):
                raise
    return _socket(root, entry, place, Kind.RELAY)


def _socket(root: Path, entry: str, place: tuple[str, ...], kind: Kind) -> Serving:
    name = HANDOFF_SOCKET if kind is Kind.HANDOFF else SOCKET
    path = root.joinpath(*place, name)
    if not _exists(root, place, name):
        raise RefusedError(f"{path} is missing: nobody has made the socket yet")
    reached = _walk(root, place, name)
    if not stat.S_ISSOCK(reached.state.st_mode):
        raise RefusedError(f"{path} is no socket")
    versions = [word for word in ("v2", "v1") if _exists(root, place, f"send-proxy-{word}")]
    resolved = "/".join((*reached.place, reached.name))
    send_proxy = versions[0] if versions else "none"
    return Serving(entry, path, resolved, reached.state, kind, send_proxy)


def _exists(root: Path, place: tuple[str, ...], name: str) -> bool:
    try:
        root.joinpath(*place, name).lstat()
    except FileNotFoundError:
        return False
    return True


def _folder(reached: _Reached) -> tuple[str, ...]:
    if reached.name:
        raise RefusedError(f"{'/'.join((*reached.place, reached.name))} is no folder")
    return reached.place


def _walk(root: Path, place: tuple[str, ...], entry: str) -> _Reached:
    """Follows an entry; links start at the hosts directory and do not leave it."""
    here, pending, owners = list(place), [entry], []
    reached: _Reached | None = None
    for _ in range(_COMPONENTS):
        if not pending:
            break
        name = pending.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            del here[-1:]
            continue
        path = root.joinpath(*here, name)
        try:
            state = path.lstat()
        except FileNotFoundError as error:
            raise RefusedError(f"a link leads to {path}, which is missing") from error
        if stat.S_ISLNK(state.st_mode):
            owners.append(state.st_uid)
            if len(owners) > _LINKS:
                raise RefusedError(f"too many links follow one another from {entry}")
            text = os.readlink(path)  # noqa: PTH115 - a path would lose "//" and "./"
            if text.startswith("/"):
                here.clear()
            pending += reversed(text.split("/"))
        elif stat.S_ISDIR(state.st_mode):
            here.append(name)
        elif pending:
            raise RefusedError(f"{path} is no folder")
        else:
            reached = _Reached(tuple(here), name, state)
    if pending:
        raise RefusedError(f"too many links follow one another from {entry}")
    found = reached or _Reached(tuple(here), "", root.joinpath(*here).lstat())
    _expect_owners(owners, found.state.st_uid)
    return found


def _expect_owners(owners: list[int], target: int) -> None:
    for owner in owners:
        if owner not in {0, target}:
            raise RefusedError(
                f"a link of user {owner} leads to what belongs to user {target}: a link is "
                "followed only to what its owner owns, unless it is root's"
            )
