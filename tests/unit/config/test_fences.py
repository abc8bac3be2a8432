"""``[apps.NAME.fences]``: what is read, and what is refused with what reason."""

import pytest
from tests.unit.config.test_load import LISTENER, codes, resolved

from cloister.model.errors import ConfigError, Problem
from cloister.model.fences import Fences, FilterProfile, LandlockChoice
from cloister.model.system_calls import ADDITIONS, NAMES, expand

APP = LISTENER + '[apps.a]\ncommand = ["/bin/a"]\nhosts = ["a"]\n'


def fences(text: str) -> Fences:
    return resolved(f"{APP}[apps.a.fences]\n{text}").apps[0].fences


def problem(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        fences(text)
    (only,) = caught.value.problems
    return only


def test_everything_given() -> None:
    text = """
profile = "strict"
allow = ["ptrace", "io_uring_setup", "ptrace"]
landlock = "required"
tcp-bind = [8080]
tcp-connect = []
proc = ["meminfo"]
open-files = 100
processes = 7
locked-memory = "64K"
file-size = "1M"
core-dumps = true
selinux-context = "u:r:t:s0"
apparmor-profile = "blog"
"""
    assert fences(text) == Fences(
        profile=FilterProfile.STRICT,
        allow=("ptrace", "io_uring_setup"),
        landlock=LandlockChoice.REQUIRED,
        tcp_bind=(8080,),
        tcp_connect=(),
        proc=("meminfo",),
        open_files=100,
        processes=7,
        locked_memory=65536,
        file_size=1 << 20,
        core_dumps=True,
        selinux_context="u:r:t:s0",
        apparmor_profile="blog",
    )


def test_nothing_given_is_fenced() -> None:
    assert resolved(APP).apps[0].fences == fences("") == Fences()
    assert Fences().profile is FilterProfile.DEFAULT


@pytest.mark.parametrize(
    ("written", "what", "near"),
    [
        ('allow = ["ptrase"]', '"ptrase" is no system call', 'did you mean "ptrace"?'),
        ('allow = ["io_uring"]', '"io_uring" is no system call', 'did you mean "io-uring"?'),
        ('proc = ["cpuinf"]', '"cpuinf" is no part of /proc', 'did you mean "cpuinfo"?'),
        ('profile = "defualt"', '`profile` cannot be "defualt"', 'did you mean "default"?'),
        ('landlock = "require"', '`landlock` cannot be "require"', 'did you mean "required"?'),
        ("profiles = 1", "`profiles` is no setting here", "did you mean `profile`?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(written: str, what: str, near: str) -> None:
    found = problem(written)
    assert found.what.startswith(what)
    assert found.hint == near


def test_what_no_name_comes_near_has_an_example() -> None:
    assert problem('allow = ["xyzzy"]').hint == 'for example "ptrace"'


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ('profile = "none"\nallow = ["ptrace"]', "unused-setting"),
        ('landlock = "off"\ntcp-bind = [1]', "conflicting-keys"),
        ('landlock = "off"\ntcp-connect = []', "conflicting-keys"),
        ("tcp-bind = [0]", "out-of-range"),
        ("tcp-connect = [65536]", "out-of-range"),
        ("open-files = 3", "out-of-range"),
        ("processes = 0", "out-of-range"),
        ('apparmor-profile = ""', "bad-name"),
        ('selinux-context = "a\\nb"', "bad-name"),
    ],
)
def test_what_makes_no_sense_is_refused(written: str, code: str) -> None:
    assert codes(f"{APP}[apps.a.fences]\n{written}\n") == [code]


def test_every_group_consists_of_calls() -> None:
    for name, calls in ADDITIONS.items():
        assert set(calls) <= NAMES
        assert expand(name) == calls
    assert expand("read") == ("read",)
    with pytest.raises(KeyError):
        expand("none-such")
