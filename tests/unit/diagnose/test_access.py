"""acl(5)'s algorithm, against the cases in which implementations go wrong."""

import pytest

from cloister.diagnose.access import SEARCH, WRITE, judge
from cloister.diagnose.facts import AclEntry, Credentials, Kind, Step

ALICE, STAFF, OTHER = 1000, 50, 60


def step(mode: int, *acl: AclEntry, uid: int = 0, gid: int = STAFF) -> Step:
    return Step("/x", Kind.DIRECTORY, 1, 2, uid, gid, mode, acl)


def who(*groups: int, gid: int = 1000, capabilities: int = 0) -> Credentials:
    return Credentials(ALICE, gid, frozenset(groups), capabilities)


@pytest.mark.parametrize(
    ("mode", "owner", "groups", "allowed", "by"),
    [
        (0o100, ALICE, (), True, "owner"),
        (0o077, ALICE, (STAFF,), False, "owner"),  # the owner is nothing else
        (0o010, 0, (STAFF,), True, "group"),
        (0o701, 0, (STAFF,), False, "group"),  # nor is the group
        (0o701, 0, (), True, "other"),
        (0o770, 0, (OTHER,), False, "other"),
    ],
)
def test_mode_bits(mode: int, owner: int, groups: tuple[int, ...], allowed: bool, by: str) -> None:
    verdict = judge(step(mode, uid=owner), who(*groups), SEARCH)
    assert (verdict.allowed, verdict.by) == (allowed, by)


def test_the_own_group_counts_as_well() -> None:
    assert judge(step(0o010), who(gid=STAFF), SEARCH).allowed


def test_a_capability_passes_everything_but_search_only_directories() -> None:
    assert judge(step(0), who(capabilities=1 << 1), WRITE).by == "capability"
    assert judge(step(0), who(capabilities=1 << 2), SEARCH).allowed
    assert not judge(step(0), who(capabilities=1 << 2), WRITE).allowed


BASE = (AclEntry("user", None, 7), AclEntry("other", None, 7))


@pytest.mark.parametrize(
    ("acl", "groups", "allowed", "by"),
    [
        # A named user's line decides, whatever his groups have.
        (
            (AclEntry("user", ALICE, 0), AclEntry("group", None, 7), AclEntry("mask", None, 7)),
            (STAFF,),
            False,
            "acl user",
        ),
        # One group that grants is enough.
        (
            (AclEntry("group", None, 0), AclEntry("group", OTHER, 1), AclEntry("mask", None, 7)),
            (STAFF, OTHER),
            True,
            "acl group",
        ),
        # A matching group that does not grant keeps "other" from deciding.
        ((AclEntry("group", None, 0), AclEntry("mask", None, 7)), (STAFF,), False, "acl group"),
        # The mask bounds users and groups, not "other".
        ((AclEntry("user", ALICE, 7), AclEntry("mask", None, 6)), (), False, "mask"),
        ((AclEntry("group", None, 0), AclEntry("mask", None, 0)), (), True, "other"),
    ],
)
def test_access_control_lists(
    acl: tuple[AclEntry, ...], groups: tuple[int, ...], allowed: bool, by: str
) -> None:
    verdict = judge(step(0o771, *BASE, *acl), who(*groups), SEARCH)
    assert (verdict.allowed, verdict.by) == (allowed, by)
