"""What the kernel takes as a map of ids, and what Cloister refuses in one."""

from collections.abc import Iterator
from itertools import combinations

from cloister.model.isolation import IdMap

LARGEST_ID = 2**32 - 2
"""(uid_t) -1 means "leave it as it is" in chown(2) and setreuid(2)."""
MAP_TEXT_LIMIT = 4095
"""Bytes: the kernel reads less than a page at once (Linux, kernel/user_namespace.c)."""
MAP_LIMIT = 340
"""UID_GID_MAP_MAX_EXTENTS (Linux 4.15, include/linux/user_namespace.h)."""


def host_root_sentence(name: str) -> str:
    """What has to be written so that the application may be the host's root. Its name is in
    it, so that it is not copied from another application by accident.
    """
    return f"{name}-is-root-on-the-host"


def maps_host_root(mappings: IdMap) -> bool:
    """Whether the host's id 0 is in the cell."""
    return any(one.outside == 0 for one in mappings)


def map_problems(mappings: IdMap) -> Iterator[tuple[str, str | None, str]]:
    """Why the kernel would refuse a map: what, why, and what to do.

    user_namespaces(7), "User and group ID mappings: uid_map and gid_map".
    """
    if len(mappings) > MAP_LIMIT:
        yield (
            f"it has {len(mappings)} runs",
            f"the kernel takes {MAP_LIMIT} at most",
            "join runs that follow each other",
        )
    text = sum(len(f"{one.inside} {one.outside} {one.size}\n") for one in mappings)
    if len(mappings) <= MAP_LIMIT and text > MAP_TEXT_LIMIT:
        yield (
            f"it is {text} bytes long",
            f"the kernel reads {MAP_TEXT_LIMIT}, each run written as a line of its three numbers",
            "join runs that follow each other",
        )
    for one in mappings:
        if max(one.inside, one.outside) + one.size - 1 > LARGEST_ID:
            yield (
                f"the run from {one.inside} to {one.outside} goes beyond the largest id",
                f"that is {LARGEST_ID}",
                "take a smaller `size`",
            )
    # 340 runs have 57,630 pairs: a fraction of a second, once.
    for one, other in combinations(mappings[:MAP_LIMIT], 2):
        for side, first, second in (
            ("inside", one.inside_ids, other.inside_ids),
            ("outside", one.outside_ids, other.outside_ids),
        ):
            if first.start < second.stop and second.start < first.stop:
                yield (
                    f"{max(first.start, second.start)} stands twice {side}",
                    "an id has one meaning",
                    "keep the runs apart",
                )
