"""Who has used up what it may have on a disk. No I/O.

The kernel tells of it by netlink only, to whoever listens to all quotas of the machine
(quota_send_warning()): what is used is compared with what may be.
"""

from collections.abc import Iterator, Mapping, Sequence

from cloister.cells.cgroups.limits import format_size
from cloister.cells.quotas.bounds import DiskUsage

FULL = 0.99
"""Of what may be: a write that fails may leave some room that is too small for it."""
ROOM = 0.9
"""What has to be left of it before it is told again."""


class FullDisks:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()
        """Applications, places, and names of limits."""

    def news(self, usage: Mapping[str, Sequence[DiskUsage]]) -> tuple[tuple[str, str], ...]:
        """Who has come to a limit since the last call, and what is to be said of it. ``usage``
        is all that is known now; of what is not in there nothing is remembered."""
        shares = {
            (name, one.place, limit): (share, fact)
            for name, several in usage.items()
            for one in several
            for limit, share, fact in _shares(one)
        }
        found = []
        told = set()
        for key, (share, fact) in shares.items():
            name, place, limit = key
            if share >= FULL and key not in self._told:
                found.append((name, f"has used up its limit `{limit}` in {place}: {fact}"))
            if share >= FULL or (share >= ROOM and key in self._told):
                told.add(key)
        self._told = told
        return tuple(found)


def _shares(usage: DiskUsage) -> Iterator[tuple[str, float, str]]:
    """A limit, what is used of it, and that for people."""
    if usage.bytes_limit:
        fact = f"{format_size(usage.bytes)} of {format_size(usage.bytes_limit)}"
        yield "disk", usage.bytes / usage.bytes_limit, fact
    if usage.files_limit:
        fact = f"{usage.files} of {usage.files_limit} files, folders and links"
        yield "disk-files", usage.files / usage.files_limit, fact
