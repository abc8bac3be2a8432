"""Ids: the lowest free one, for ever the same, never two applications with one."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from cloister.cells import identity
from cloister.cells.identity import Freed, IdentityStore
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity, IdRange

RANGE = IdRange(3_000_000_000, 3_000_000_004)
FIRST = RANGE.first


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "identities.json"


def store(path: Path, ids: IdRange = RANGE) -> IdentityStore:
    return IdentityStore(str(path), ids, rootless=False)


def test_each_name_gets_the_lowest_free_id_and_keeps_it(path: Path) -> None:
    first = store(path)
    assert first.door == HostIdentity(FIRST, FIRST)
    assert first.acquire("a") == HostIdentity(FIRST + 1, FIRST + 1)
    assert first.acquire("b").uid == FIRST + 2
    again = store(path)
    assert again.acquire("b").uid == FIRST + 2
    assert again.acquire("a").uid == FIRST + 1
    again.release("a")
    again.release("never-heard-of")
    # What was a's may have left files: nobody else gets it while there are others.
    assert first.acquire("c").uid == FIRST + 3
    assert first.acquire("a").uid == FIRST + 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["a"] == FIRST + 1


def test_peeking_changes_nothing(path: Path) -> None:
    assert store(path).peek("a").uid == FIRST + 1
    assert not path.parent.exists()
    store(path).acquire("b")
    assert store(path).peek("b").uid == FIRST + 1
    assert store(path).peek("a").uid == FIRST + 2
    assert json.loads(path.read_text()) == {"b": FIRST + 1}


def test_a_used_up_range_says_so(path: Path) -> None:
    full = store(path)
    for name in "abcd":
        full.acquire(name)
    with pytest.raises(CloisterError, match="no id is free"):
        full.acquire("e")
    full.release("b")
    assert full.acquire("e").uid == FIRST + 2


def test_an_id_with_leftovers_is_given_to_nobody_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = store(path)
    for name in "abcd":
        full.acquire(name)
    left = {FIRST + 2: ("process 7 (sleep)",), FIRST + 3: ()}
    monkeypatch.setattr(identity, "find", lambda uid, places=(): left[uid])
    full.release("b")
    with pytest.raises(CloisterError, match="no id is free") as caught:
        full.peek("e")
    assert "process 7 (sleep) still belongs" in str(caught.value.why)
    full.release("c")
    assert full.acquire("e").uid == FIRST + 3
    assert full.acquire("b").uid == FIRST + 2


def test_whoever_leaves_the_configuration_is_freed_and_what_is_left_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, tuple[str, ...]]] = []

    def find(uid: int, places: tuple[str, ...] = ()) -> tuple[str, ...]:
        asked.append((uid, places))
        return ("/srv/uploads/x",)

    monkeypatch.setattr(identity, "find", find)
    kept = store(path)
    for name in "abc":
        kept.acquire(name)
    assert kept.retain(["a", "c", "new"], ["/srv/uploads"]) == (
        Freed("b", FIRST + 2, ("/srv/uploads/x",)),
    )
    assert asked == [(FIRST + 2, ("/srv/uploads",))]
    assert kept.retain(["a", "c"]) == ()
    assert kept.acquire("new").uid == FIRST + 4
    assert kept.acquire("b").uid == FIRST + 2


def test_another_range_gives_new_ids(path: Path) -> None:
    store(path).acquire("a")
    moved = IdRange(3_100_000_000, 3_100_000_009)
    assert store(path, moved).acquire("a").uid == 3_100_000_001


@pytest.mark.parametrize("text", ["", "[]", '{"a":0}', '{"a":true}', '{"a":7,"b":7}', "\xff"])
def test_a_damaged_store_is_not_guessed_at(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    with pytest.raises(CloisterError, match=r"is damaged|cannot be read"):
        store(path).acquire("a")
    assert path.read_text(encoding="latin-1") == text


def test_a_crash_while_writing_keeps_the_old_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(path).acquire("a")
    before = path.read_text()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(identity.os, "fsync", full)
        with pytest.raises(CloisterError, match="cannot be written"):
            store(path).acquire("b")
    assert path.read_text() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "identities.json",
        "identities.json.lock",
    ]


def _acquire(arguments: tuple[str, str]) -> int:
    return store(Path(arguments[0]), IdRange(FIRST, FIRST + 100)).acquire(arguments[1]).uid


def test_processes_at_once_get_different_ids(path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        ids = pool.map(_acquire, [(str(path), f"app-{number}") for number in range(24)])
    assert sorted(ids) == list(range(FIRST + 1, FIRST + 25))


def test_leases_end_with_their_block_or_their_process(path: Path) -> None:
    leases = store(path)
    leases.acquire("a")
    with leases.lease() as one, leases.lease() as two:
        # From the other end: no application gets next what a command has had.
        assert (one.uid, two.uid) == (FIRST + 4, FIRST + 3)
    stored = json.loads(path.read_text())
    assert stored == {"a": FIRST + 1}
    # No process has this number: it is above what the kernel gives (PID_MAX_LIMIT).
    path.write_text(json.dumps(stored | {f"run.{2**22 + 1}.x": FIRST + 2}))
    with leases.lease() as three:
        assert three.uid == FIRST + 4
        assert f"run.{2**22 + 1}.x" not in json.loads(path.read_text())


@pytest.mark.parametrize(
    ("line", "fits"),
    [
        (f"lxc:{FIRST + 4}:1", False),
        (f"lxc:{FIRST - 10}:10", True),
        (f"lxc:{FIRST - 10}:11", False),
        (f"lxc:{FIRST + 5}:65536", True),
        (f"cloister:{FIRST}:5", True),
        ("# nonsense", True),
    ],
)
def test_subordinate_ids_of_others_are_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, fits: bool
) -> None:
    (tmp_path / "subuid").write_text(f"\n{line}\n")
    monkeypatch.setattr(identity, "SUBORDINATE", (str(tmp_path / "subuid"),))
    if fits:
        store(path).acquire("a")
        return
    with pytest.raises(CloisterError, match="is not free") as caught:
        store(path).acquire("a")
    assert "to lxc" in str(caught.value.why)


def test_users_of_the_host_are_refused(path: Path) -> None:
    with pytest.raises(CloisterError, match="is not free") as caught:
        store(path, IdRange(65530, 65540)).acquire("a")
    assert "nobody" in str(caught.value.why)


def test_an_ordinary_user_has_its_own_ids_only(path: Path) -> None:
    own = HostIdentity(os.geteuid(), os.getegid())
    rootless = IdentityStore(str(path), RANGE, rootless=True)
    assert rootless.acquire("a") == rootless.acquire("b") == rootless.door == own
    with rootless.lease() as leased:
        assert leased == own
    rootless.release("a")
    assert not path.exists()
