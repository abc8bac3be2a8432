"""What an application's fences become in a specification."""

import resource

import pytest

from cloister.cells import spec
from cloister.cells.fences import LOCKED_MEMORY, OPEN_FILES, PROCESSES, build_fences
from cloister.model.fences import Fences, LandlockChoice


def limits(fences: Fences) -> dict[str, int]:
    return {limit.resource.value: limit.value for limit in build_fences(fences).limits}


def supervisor_may_have(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (1024, hard))


def test_limits_that_nobody_set(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor_may_have(monkeypatch, resource.RLIM_INFINITY)
    assert limits(Fences()) == {
        "open-files": OPEN_FILES,
        "processes": PROCESSES,
        "locked-memory": LOCKED_MEMORY,
    }


def test_defaults_are_never_more_than_the_supervisors_own(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor_may_have(monkeypatch, 1000)
    assert limits(Fences()) == dict.fromkeys(("open-files", "processes", "locked-memory"), 1000)


def test_what_is_asked_for_is_passed_on_whatever_the_supervisor_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor_may_have(monkeypatch, 1000)
    asked = Fences(open_files=2000, processes=3, locked_memory=4, file_size=5)
    assert limits(asked) == {
        "open-files": 2000,
        "processes": 3,
        "locked-memory": 4,
        "file-size": 5,
    }


def test_landlock() -> None:
    made = build_fences(Fences()).landlock
    assert made == spec.Landlock(
        required=False,
        files=True,
        signals=True,
        abstract_sockets=True,
        tcp_bind=None,
        tcp_connect=None,
    )
    required = Fences(landlock=LandlockChoice.REQUIRED, tcp_bind=(80,), tcp_connect=())
    made = build_fences(required).landlock
    assert made is not None
    assert (made.required, made.tcp_bind, made.tcp_connect) == (True, (80,), ())
    assert build_fences(Fences(landlock=LandlockChoice.OFF)).landlock is None


def test_labels_and_proc() -> None:
    made = build_fences(
        Fences(selinux_context="u:r:t:s0", apparmor_profile="blog", proc=("meminfo",))
    )
    assert made.labels == (spec.SelinuxLabel("u:r:t:s0"), spec.ApparmorLabel("blog"))
    assert made.proc == ("meminfo",)
    assert build_fences(Fences()).labels == ()
