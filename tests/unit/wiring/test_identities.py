"""Whom folders are closed to."""

import os

import pytest
from tests.support.up import open_folder

from cloister.model.isolation import HostIdentity
from cloister.wiring.identities import closed_to


@pytest.mark.parametrize(
    ("mode", "stranger", "fellow", "owner"),
    [
        (0o755, True, True, True),
        (0o710, False, True, True),
        (0o701, True, False, True),
        (0o611, True, True, False),
    ],
)
def test_the_first_folder_that_a_user_may_not_pass(
    mode: int, stranger: bool, fellow: bool, owner: bool
) -> None:
    with open_folder() as folder:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a").chmod(mode)

        def passes(uid: int, gid: int) -> bool:
            found = closed_to(str(folder / "a" / "b"), HostIdentity(uid, gid))
            assert found in (None, str(folder / "a"))
            return found is None

        assert passes(54321, 54321) is stranger
        assert passes(54321, os.getgid()) is fellow
        assert passes(os.getuid(), os.getgid()) is owner
        (folder / "a").chmod(0o755)
