"""As whom an application of Unit's runs: `user`, `group`, and the maps of its isolation.

Unit is not of one mind about `user` beside a map. Its first release with maps, and the text
that announced them, took it for the id inside (`root` is 0 there, whatever that is on the host);
later ones look it up on the host's side of the map (src/nxt_clone.c). The host's side is asked
first here, then the inner one: what either kind of configuration means is what it gets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cloister.config.surroundings import Account
from cloister.model.isolation import IdMap, IdMapping

NOBODY = Account(65534, 65534)
"""Unit's default user, where the system has no such name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a configuration says, with every name turned into numbers."""

    user: Account
    named: bool
    """Whether it says `user` at all."""
    group: int | None
    credential: bool
    uid_map: IdMap
    gid_map: IdMap


@dataclass(frozen=True, slots=True)
class Identity:
    """What follows for the application."""

    host_uid: int
    host_gid: int
    groups: tuple[int, ...]
    uid: int | None
    """Inside; ``None`` without a user namespace."""
    gid: int | None
    uid_map: IdMap
    gid_map: IdMap


class UnmappedError(Exception):
    """The user or the group is on neither side of its map."""

    def __init__(self, key: str, number: int) -> None:
        super().__init__(key, number)
        self.key = key
        """``uidmap`` or ``gidmap``."""
        self.number = number


def decide(asked: Asked, own: tuple[int, int] | None) -> Identity:
    """``own`` are the ids of a supervisor that is not root: everything runs under them.

    Raises :class:`UnmappedError`.
    """
    gid = asked.user.gid if asked.group is None else asked.group
    if not asked.credential:
        host_uid, host_gid = own or (asked.user.uid, gid)
        groups = asked.user.groups if own is None else ()
        return Identity(host_uid, host_gid, groups, None, None, (), ())
    users = _side(
        "uidmap", asked.uid_map, asked.user.uid, asked.named, None if own is None else own[0]
    )
    # The group of a user that is not named goes as its user does.
    named = asked.named or asked.group is not None
    groups_side = _side("gidmap", asked.gid_map, gid, named, None if own is None else own[1])
    return Identity(
        users.outside,
        groups_side.outside,
        tuple(_mapped(asked.user.groups, asked.gid_map)) if own is None else (),
        users.inside,
        groups_side.inside,
        asked.uid_map or (users,),
        asked.gid_map or (groups_side,),
    )


def _side(key: str, mappings: IdMap, number: int, named: bool, own: int | None) -> IdMapping:
    """The one id inside, with its id on the host."""
    if own is not None:
        # An ordinary user maps nobody else: what is asked for can only be the id inside.
        found = [one.to_inside(own) for one in mappings if one.to_inside(own) is not None]
        if mappings and not found:
            raise UnmappedError(key, own)
        return IdMapping(found[0] if found else number if named else 0, own)  # type: ignore[arg-type]
    if not mappings:
        return IdMapping(number, number)
    for one in mappings:
        inside = one.to_inside(number)
        if inside is not None:
            return IdMapping(inside, number)
    for one in mappings:
        outside = one.to_outside(number)
        if outside is not None:
            return IdMapping(number, outside)
    if named:
        raise UnmappedError(key, number)
    return IdMapping(mappings[0].inside, mappings[0].outside)


def _mapped(groups: tuple[int, ...], mappings: IdMap) -> Iterator[int]:
    """The groups that exist inside as well: no other could be kept."""
    for group in groups:
        if any(one.to_inside(group) is not None for one in mappings):
            yield group
