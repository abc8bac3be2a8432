"""Whether the kernel lets somebody through a directory or into a socket, and by which line.

The algorithm is that of acl(5), "ACCESS CHECK ALGORITHM", which with three entries is the
one of path_resolution(7). No I/O.
"""

from dataclasses import dataclass

from cloister.diagnose.facts import Credentials, Step

SEARCH, WRITE = 1, 2
"""connect(2) needs write permission on the socket and search permission on every directory."""

_DAC_OVERRIDE = 1 << 1
_DAC_READ_SEARCH = 1 << 2
"""capabilities(7)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision."""

    allowed: bool
    by: str
    """``owner``, ``group``, ``other``, ``capability``, or with an access control list ``acl
    user``, ``acl group`` or ``mask``: which line decided."""
    qualifier: int | None = None
    """The id in that line of the list."""

    @property
    def by_acl(self) -> bool:
        """Whether an access control list decided."""
        return self.by.startswith("acl") or self.by == "mask"


def judge(step: Step, who: Credentials, want: int) -> Verdict:
    """Whether ``who`` has the permission ``want`` on ``step``."""
    if who.capabilities & _DAC_OVERRIDE or (want == SEARCH and who.capabilities & _DAC_READ_SEARCH):
        return Verdict(True, "capability")
    if who.uid == step.uid:
        return Verdict(bool(step.mode >> 6 & want), "owner")
    if step.acl:
        return _by_list(step, who, want)
    if step.gid in who.all_groups:
        return Verdict(bool(step.mode >> 3 & want), "group")
    return Verdict(bool(step.mode & want), "other")


def _by_list(step: Step, who: Credentials, want: int) -> Verdict:
    masks = [entry.permissions for entry in step.acl if entry.tag == "mask"]
    mask = masks[0] if masks else 7
    for entry in step.acl:
        if entry.tag == "user" and entry.qualifier == who.uid:
            return _masked(entry.permissions, mask, want, "acl user", entry.qualifier)
    # Any group that grants is enough; only when several match and none does is it refused.
    refusal = None
    for entry in step.acl:
        group = step.gid if entry.qualifier is None else entry.qualifier
        if entry.tag != "group" or group not in who.all_groups:
            continue
        verdict = _masked(entry.permissions, mask, want, "acl group", entry.qualifier)
        if verdict.allowed:
            return verdict
        refusal = refusal or verdict
    if refusal is not None:
        return refusal
    return Verdict(bool(step.mode & want), "other")


def _masked(permissions: int, mask: int, want: int, by: str, qualifier: int | None) -> Verdict:
    if not permissions & want:
        return Verdict(False, by, qualifier)
    if not mask & want:
        return Verdict(False, "mask", qualifier)
    return Verdict(True, by, qualifier)
