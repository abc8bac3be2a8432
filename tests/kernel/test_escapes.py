"""The battery: more than eighty attempts to get out of a default cell, all of them denied.

Each counts only because the very same attempt is seen to succeed where its fence is away; see
``tests/support/escapes.py``.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.escapes import ABSENT, ATTEMPTS, Attempt, Scene, scene

pytestmark = pytest.mark.usefixtures("root")
CASES = [pytest.param(one, id=f"{one.group}: {one.word}") for one in ATTEMPTS]


@pytest.fixture(scope="module")
def battery() -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="cloister-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with scene(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("attempt", CASES)
def test_denied_inside_and_open_elsewhere(battery: Scene, attempt: Attempt) -> None:
    assert battery.inside[attempt.word] != "reached"
    opened = battery.opened[attempt]
    # Where the tests run in a control group themselves, root may not open every device.
    denied = {"EPERM", "EACCES"} if attempt.group == "devices" else set()
    if opened.removeprefix("denied ") in ABSENT | denied:
        pytest.skip(f"{opened} where it should be open: not on this machine, proves nothing")
    assert opened == "reached"


def test_enough_attempts_are_verified(battery: Scene) -> None:
    verified = [one for one, opened in battery.opened.items() if opened == "reached"]
    assert len(verified) >= 80
    # None of the groups is there for show.
    assert {one.group for one in verified} == {one.group for one in ATTEMPTS}
    assert len({one.word for one in ATTEMPTS}) == len(ATTEMPTS)
