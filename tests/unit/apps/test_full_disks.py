"""Who has used up what it may have on a disk is told once, and again after there was room."""

import pytest

from cloister.apps.full_disks import FullDisks
from cloister.cells.quotas.bounds import DiskUsage


def use(used: int = 0, files: int = 0, place: str = "/srv/a", limit: int = 1000) -> DiskUsage:
    return DiskUsage(place, used, files, limit, 100)


def test_once_until_there_was_room() -> None:
    full = FullDisks()
    told = [
        len(full.news({"a": [use(used)]})) for used in (980, 990, 1000, 901, 1000, 899, 995, 1200)
    ]
    assert told == [0, 1, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (use(1 << 20, limit=1 << 20), "`disk` in /srv/a: 1 MiB of 1 MiB"),
        (use(files=100), "`disk-files` in /srv/a: 100 of 100 files, folders and links"),
        (use(1, limit=0), None),
    ],
)
def test_what_is_said(usage: DiskUsage, said: str | None) -> None:
    expected = () if said is None else (("a", f"has used up its limit {said}"),)
    assert FullDisks().news({"a": [usage]}) == expected


def test_each_application_place_and_limit_by_itself() -> None:
    full = FullDisks()
    assert len(full.news({"a": [use(1000)], "b": [use()]})) == 1
    every = {"a": [use(1000, 100), use(1000, place="/srv/b")], "b": [use(1000)]}
    assert [name for name, _ in full.news(every)] == ["a", "a", "b"]
    assert full.news(every) == ()


def test_what_is_bounded_no_more_is_forgotten() -> None:
    full = FullDisks()
    for _ in range(2):
        assert len(full.news({"a": [use(1000)]})) == 1
        assert full.news({}) == ()
