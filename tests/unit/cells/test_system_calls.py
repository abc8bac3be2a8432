"""The profiles of system calls."""

from pathlib import Path

import pytest
from tests.conftest import Golden

from cloister.cells.spec import Differs, Equal, SystemCalls
from cloister.cells.system_calls import describe, system_calls
from cloister.model.fences import Fences, FilterProfile
from cloister.model.system_calls import ADDITIONS, NAMES

GOLDENS = Path(__file__).parents[2] / "golden" / "cells"
TABLE = Path(__file__).parents[3] / "crates" / "sys" / "src" / "system_calls" / "table.txt"


def calls(*allow: str, profile: FilterProfile = FilterProfile.DEFAULT) -> SystemCalls:
    made = system_calls(Fences(profile=profile, allow=allow))
    assert made is not None
    return made


def conditional(made: SystemCalls) -> set[str]:
    return {call.name for call in made.conditional}


@pytest.mark.parametrize("profile", [FilterProfile.DEFAULT, FilterProfile.STRICT])
def test_the_whole_filter(golden: Golden, profile: FilterProfile) -> None:
    text = "\n".join(describe(calls(profile=profile))) + "\n"
    golden.check(GOLDENS / f"filter-{profile.value}.txt", text)


def test_the_names_are_those_of_the_table() -> None:
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    assert {line.split()[0] for line in lines} == NAMES


@pytest.mark.parametrize("profile", [FilterProfile.DEFAULT, FilterProfile.STRICT])
def test_each_call_stands_in_one_way(profile: FilterProfile) -> None:
    made = calls(profile=profile)
    assert {*made.allowed, *conditional(made), *made.absent} <= NAMES
    assert len(set(made.allowed)) == len(made.allowed)
    assert not set(made.allowed) & conditional(made)
    assert not set(made.allowed) & set(made.absent)


def test_strict_is_less_in_everything() -> None:
    default, strict = calls(), calls(profile=FilterProfile.STRICT)
    assert set(strict.allowed) < set(default.allowed)
    families = {
        condition.value
        for call in strict.conditional
        if call.name == "socket"
        for condition in call.conditions
        if isinstance(condition, Equal) and condition.argument == 0
    }
    assert families == {1}
    assert {"mmap", "mprotect"} <= conditional(strict)


def test_nothing_of_a_group_is_in_a_profile() -> None:
    """Otherwise asking for the group would be for nothing."""
    made = calls()
    for name, group in ADDITIONS.items():
        assert not set(group) & set(made.allowed), name


@pytest.mark.parametrize("name", [*ADDITIONS, "acct"])
def test_what_is_asked_for_is_allowed_whatever_the_arguments(name: str) -> None:
    made = calls(name)
    group = set(ADDITIONS.get(name, (name,)))
    assert group <= set(made.allowed)
    assert not group & conditional(made)
    assert not group & set(made.absent)
    assert made.profile == f"default + {name}"
    assert set(made.allowed) - group == set(calls().allowed)


def test_no_filter_at_all() -> None:
    assert system_calls(Fences(profile=FilterProfile.NONE)) is None


@pytest.mark.parametrize("profile", [FilterProfile.DEFAULT, FilterProfile.STRICT])
def test_files_stay_in_their_project_where_that_is_asked_for(profile: FilterProfile) -> None:
    """By FS_IOC_FSSETXATTR and FS_IOC_SETFLAGS an owner would take them out (linux/fs.h)."""

    def refused(*, keeps_projects: bool) -> set[int]:
        calls = system_calls(Fences(profile=profile), keeps_projects=keeps_projects)
        assert calls is not None
        (ioctl,) = [call for call in calls.conditional if call.name == "ioctl"]
        return {one.value for one in ioctl.conditions if isinstance(one, Differs)}

    assert refused(keeps_projects=True) - refused(keeps_projects=False) == {0x401C5820, 0x40086602}
    for name in ("file_setattr", "quotactl", "quotactl_fd"):
        calls = system_calls(Fences(profile=profile))
        assert calls is not None
        assert name not in calls.allowed
