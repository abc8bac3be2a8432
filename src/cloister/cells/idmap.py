"""Who the application is: in its cell, on the host, and on the disk of an id-mapped mount."""

import grp
import os
import pwd
import shutil

from cloister.cells import spec
from cloister.cells.identity import subordinate_ids
from cloister.model.errors import CloisterError
from cloister.model.id_map import (
    LARGEST_ID,
    host_root_sentence,
    map_problems,
    maps_host_root,
)
from cloister.model.isolation import Bind, HostIdentity, IdMap, IdMapping, Isolation

HELPER_PATH = "/usr/local/bin:/usr/bin:/bin:/run/wrappers/bin"
"""Where ``cloister-cell`` looks for newuidmap(1) and newgidmap(1)."""
USER_ID = 1000
"""The application's user and group inside, where nothing else is asked for."""


def identity(name: str, isolation: Isolation, host: HostIdentity) -> spec.Identity:
    """The ids of the application ``name``, which is ``host`` where its maps do not say
    otherwise.

    Raises :class:`CloisterError` for maps that the kernel would refuse, for those that this
    process may not set, and for the host's root where that is not allowed in so many words.
    """
    if isolation.namespaces.user:
        uid, host_uid, uid_map = _one(name, "uid", isolation.uid, host.uid, isolation.uid_map)
        gid, host_gid, gid_map = _one(name, "gid", isolation.gid, host.gid, isolation.gid_map)
    else:
        uid, host_uid, uid_map = host.uid, host.uid, ()
        gid, host_gid, gid_map = host.gid, host.gid, ()
    root = 0 in (host_uid, host_gid) or maps_host_root(uid_map) or maps_host_root(gid_map)
    if root and not isolation.host_root:
        raise CloisterError(
            f"{name} would be root on the host",
            why="whoever takes it over has the machine",
            hint="give it another user, or map ids that belong to nobody; only if that is meant: "
            f'allow-host-root = "{host_root_sentence(name)}"',
        )
    return spec.Identity(
        uid=uid,
        gid=gid,
        host_uid=host_uid,
        host_gid=host_gid,
        uid_map=ranges(uid_map),
        gid_map=ranges(gid_map),
        host_root=isolation.host_root,
    )


def _one(
    name: str, kind: str, wanted: int | None, host: int, mappings: IdMap
) -> tuple[int, int, IdMap]:
    """The id inside, the id on the host, and the whole map."""
    if not mappings:
        own = IdMapping(USER_ID if wanted is None else wanted, host)
        return own.inside, host, (own,)
    for what, why, hint in map_problems(mappings):
        raise CloisterError(f"the {kind}-map of {name} cannot be used: {what}", why=why, hint=hint)
    _check_privilege(name, kind, mappings)
    for mapping in mappings:
        inside = mapping.to_inside(host) if wanted is None else wanted
        outside = None if inside is None else mapping.to_outside(inside)
        if inside is not None and outside is not None:
            return inside, outside, mappings
    if wanted is None:
        raise CloisterError(
            f"the {kind}-map of {name} does not have the application's own id",
            why=f"on the host that is {host}",
            hint=f"map it, or say with `{kind}` which of the ids inside the application has",
        )
    raise CloisterError(
        f"the {kind}-map of {name} has no id {wanted} inside",
        hint="map it, or choose one of the ids that are mapped",
    )


def _check_privilege(name: str, kind: str, mappings: IdMap) -> None:
    """An ordinary user maps their own id; more by newuidmap(1) and newgidmap(1) alone."""
    if os.geteuid() == 0:
        return
    own = os.geteuid() if kind == "uid" else os.getegid()
    if len(mappings) == 1 and mappings[0].outside_ids == range(own, own + 1):
        return
    program = f"new{kind}map"
    if shutil.which(program, path=HELPER_PATH) is None:
        raise CloisterError(
            f"the {kind}-map of {name} needs root, or the program {program}",
            why=f"an ordinary user can only map their own id, {own}",
            hint="install the package uidmap, or map that one id",
        )
    granted = [range(own, own + 1), *subordinate_ids(f"/etc/sub{kind}", os.geteuid())]
    for mapping in mappings:
        ids = mapping.outside_ids
        if not any(ids.start >= one.start and ids.stop <= one.stop for one in granted):
            raise CloisterError(
                f"the {kind}-map of {name} takes ids {ids.start}-{ids.stop - 1} of the host",
                why=f"/etc/sub{kind} does not give them to this user",
                hint=f"map ids that are given, or have root add a line to /etc/sub{kind}",
            )


def ranges(mappings: IdMap) -> tuple[spec.IdRange, ...]:
    """As ``cloister-cell`` reads them."""
    return tuple(spec.IdRange(one.inside, one.outside, one.size) for one in mappings)


def owners(name: str, bind: Bind, who: spec.Identity) -> spec.Owners | None:
    """The ids of the mount that shows the files of ``bind``'s owner as the application's.

    Raises :class:`CloisterError` for an owner that does not exist, for a caller that may not
    map mounts, and for root's files that the application could write to.
    """
    if bind.owner is None and bind.group is None:
        return None
    user, primary = _user(name, bind.owner)
    group = primary if bind.group is None else _group(name, bind.group)
    if (user, group) in ((who.host_uid, who.host_gid), (None, who.host_gid)):
        return None
    refuse_without_root(name, f"the owner of {bind.source}")
    if bind.writable and 0 in (user, group) and not who.host_root:
        raise CloisterError(
            f"{name} may not write root's files in {bind.source}",
            why="it could make a set-user-id program there, and be root on the host by it",
            hint="give the folder another owner, or leave out `writable`",
        )
    everybody = (spec.IdRange(0, 0, LARGEST_ID + 1),)
    return spec.Owners(
        users=everybody if user is None else (spec.IdRange(user, who.host_uid, 1),),
        groups=everybody if group is None else (spec.IdRange(group, who.host_gid, 1),),
    )


def image_owners(name: str, writable: bool, who: spec.Identity) -> spec.Owners:
    """The ids of a mount whose files belong on the disk to whom they belong in the cell.

    Raises :class:`CloisterError` as :func:`owners` does.
    """
    refuse_without_root(name, "the owners of the files in `rootfs`")
    roots = any(one.inside == 0 for one in (*who.uid_map, *who.gid_map))
    if writable and roots and not who.host_root:
        raise CloisterError(
            f"{name} may not write root's files in its `rootfs`",
            why="on the disk they are the host's root's: it could make a set-user-id program "
            "there, and be root on the host by it",
            hint="leave out `rootfs-writable`, or `rootfs-mapped` and give the folder's files to "
            f"the ids of the cell; only if that is meant: allow-host-root = "
            f'"{host_root_sentence(name)}"',
        )
    return spec.Owners(who.uid_map, who.gid_map)


def refuse_without_root(name: str, what: str) -> None:
    """Raises :class:`CloisterError` where this process may not make id-mapped mounts."""
    if os.geteuid() != 0:
        raise CloisterError(
            f"{what} cannot be mapped for {name}",
            why="an id-mapped mount needs root",
            hint="run it as root, or give the files to your own user",
        )


def _user(name: str, owner: str | None) -> tuple[int | None, int | None]:
    """The user's id and primary group."""
    if owner is None:
        return None, None
    try:
        found = pwd.getpwuid(int(owner)) if owner.isdigit() else pwd.getpwnam(owner)
    except KeyError:
        if owner.isdigit():
            return int(owner), None
        raise _unknown(name, "user", owner) from None
    return found.pw_uid, found.pw_gid


def _group(name: str, group: str) -> int:
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise _unknown(name, "group", group) from None


def _unknown(name: str, kind: str, wanted: str) -> CloisterError:
    return CloisterError(
        f"there is no {kind} {wanted}, whose files {name} is to have",
        hint=f"make the {kind}, or write a number",
    )
