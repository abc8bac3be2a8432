"""Whom an application is on the host: ids of its own, or a user that its settings name."""

import grp
import os
import pwd
from collections.abc import Callable

from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity


def app_identity(app: App, own: Callable[[str], HostIdentity]) -> HostIdentity:
    """The host ids of ``app``; ``own`` gives those of an application that names no user
    (:meth:`cloister.cells.identity.IdentityStore.acquire`, or its ``peek``).

    Raises :class:`CloisterError` for users and groups that do not exist, that are root, or
    that an ordinary user may not become.
    """
    who = f"the application {app.name}"
    root = app.isolation.host_root
    groups = tuple(_group(name, who) for name in app.groups)
    if app.user is None:
        identity = own(app.name)
    else:
        identity = named_identity(app.user, who, root=root)
        if app.group is not None:
            identity = HostIdentity(identity.uid, _group(app.group, who, root=root))
    identity = HostIdentity(identity.uid, identity.gid, groups)
    if os.geteuid() != 0:
        _check_own(identity, who)
    return identity


def named_identity(name: str, who: str, *, root: bool = False) -> HostIdentity:
    """A user's ids; a number that is no user's stands for the group of that number too.
    ``who`` is for messages; ``root`` says whether it may be root.
    """
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError as error:
        if not name.isdecimal():
            raise CloisterError(
                f"there is no user {name!r} to run {who} as",
                hint="make it, or correct `user`",
            ) from error
        uid = gid = int(name)
    if 0 in (uid, gid) and not root:
        raise _root(name, who)
    return HostIdentity(uid, gid)


def _group(name: str, who: str, *, root: bool = False) -> int:
    try:
        gid = int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise CloisterError(
            f"there is no group {name!r} for {who}",
            hint="make it, or correct `group` and `groups`",
        ) from error
    if gid == 0 and not root:
        raise _root(name, who)
    return gid


def _root(name: str, who: str) -> CloisterError:
    return CloisterError(
        f"{who} cannot run as {name!r}",
        why="that is root, or root's group",
        hint="name a user that owns nothing else; for an application, and only if that is meant, "
        "see `allow-host-root` of its `isolation`",
    )


def _check_own(identity: HostIdentity, who: str) -> None:
    """An ordinary user can become nobody else, nor keep groups apart from the others."""
    foreign = identity.uid != os.geteuid() or identity.gid != os.getegid()
    if foreign or identity.groups:
        raise CloisterError(
            f"{who} cannot have users and groups of its own",
            why=f"the supervisor is user {os.geteuid()} and may become nobody else",
            hint="remove `user`, `group` and `groups`, or start the supervisor as root",
        )
