"""Users and groups of this machine, by name or number, for those who resolve configurations."""

import grp
import os
import pwd

from cloister.config.surroundings import Account


def find_user(name: str) -> Account | None:
    """A user; a number needs no line in passwd(5). Blocks for the system's databases."""
    try:
        found = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        # setuid(2) takes any number, and its group is by custom the same.
        return Account(int(name), int(name)) if name.isdecimal() else None
    groups = os.getgrouplist(found.pw_name, found.pw_gid)
    return Account(
        found.pw_uid, found.pw_gid, tuple(sorted(gid for gid in groups if gid != found.pw_gid))
    )


def find_group(name: str) -> int | None:
    """A group's number. Blocks for the system's databases."""
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
