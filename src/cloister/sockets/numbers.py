"""A planned socket with every name turned into a number, as whoever makes it needs it."""

import grp
import os
import pwd
from dataclasses import dataclass

from cloister.model.errors import CloisterError
from cloister.sockets.plan import SocketPlan


@dataclass(frozen=True, slots=True)
class PathPlan:
    """A Unix path socket that this host can make."""

    path: str
    owner: int | None
    """User id; ``None`` leaves it this process's own."""
    group: int | None
    mode: int
    directory_mode: int
    """For directories that have to be made. They stay this process's own and get
    ``group``: whoever owns a directory can put another socket into it.
    """
    backlog: int
    sequenced: bool
    """``SOCK_SEQPACKET`` instead of ``SOCK_STREAM``."""

    @property
    def folder(self) -> str:
        """The directory that the socket lies in."""
        return os.path.dirname(self.path)  # noqa: PTH120 - a path in the text form it has

    @property
    def name(self) -> str:
        """The socket's name in its directory."""
        return os.path.basename(self.path)  # noqa: PTH119


def resolve(plan: SocketPlan) -> PathPlan:
    """Looks the accounts up. Raises :class:`CloisterError` for an unknown user or group or an
    impossible path."""
    path, options = plan.path, plan.options
    if not path.startswith("/") or path.endswith(("/", "/.", "/..")) or "\0" in path:
        raise CloisterError(
            f"{path!r} cannot be a socket's path",
            why="it is not absolute, or ends in a directory, or holds a NUL byte",
            hint="name the socket itself, for example unix:/run/cloister/web.sock",
        )
    return PathPlan(
        path=path,
        owner=_user(path, options.owner),
        group=_group(path, options.group),
        mode=options.mode,
        directory_mode=options.directory_mode,
        backlog=options.backlog,
        sequenced=options.sequenced,
    )


def _user(path: str, name: str | None) -> int | None:
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise _unknown(path, "user", "owner", name) from None


def _group(path: str, name: str | None) -> int | None:
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise _unknown(path, "group", "group", name) from None


def _unknown(path: str, kind: str, option: str, name: str) -> CloisterError:
    return CloisterError(
        f"unix:{path} cannot be bound: there is no {kind} {name!r}",
        why=f"`{option}` of the listener's socket names it",
        hint=f"create the {kind}, or give its number",
    )
