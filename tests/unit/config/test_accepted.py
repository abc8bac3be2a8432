"""The accepted configuration on disk: whole, or the one before, whatever happens."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.config.accepted import AcceptedStore
from cloister.model.configuration import Accepted, Configuration, Dialect
from cloister.model.errors import CloisterError

FIRST = Accepted(1, Configuration("# é\n\n", Dialect.TOML, "/etc/c.toml"), "digest", 12.5)
SECOND = replace(FIRST, version=2, configuration=replace(FIRST.configuration, text=""))
THIRD = replace(FIRST, version=3, configuration=replace(FIRST.configuration, text="x" * 5000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "configuration"


@pytest.fixture
def store(folder: Path) -> AcceptedStore:
    return AcceptedStore(str(folder))


def test_the_last_one_comes_back_as_it_was(store: AcceptedStore, folder: Path) -> None:
    assert store.read().last is None
    for accepted in (FIRST, SECOND, THIRD, replace(SECOND, version=4), replace(FIRST, version=5)):
        store.write(accepted)
        assert store.read().last == accepted
        assert not store.read().damaged
    assert sorted(path.name for path in folder.iterdir()) == ["even", "odd"]
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]
    assert [path.stat().st_size for path in folder.iterdir()] == [4096, 4096]
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("at", [0, 30, 100])
def test_a_changed_byte_is_noticed(store: AcceptedStore, folder: Path, at: int) -> None:
    store.write(FIRST)
    store.write(SECOND)
    content = bytearray((folder / "even").read_bytes())
    content[at] ^= 1
    (folder / "even").write_bytes(content)
    found = store.read()
    assert found.last == FIRST
    assert "even cannot be used" in str(found.damaged[0])


def test_wherever_a_write_ends_the_one_before_is_there(store: AcceptedStore, folder: Path) -> None:
    store.write(FIRST)
    store.write(SECOND)
    old = (folder / "odd").read_bytes()
    third = replace(FIRST, version=3)
    store.write(third)
    new = (folder / "odd").read_bytes()
    whole = len(new.rstrip(b"\0"))
    for length in range(whole):
        mixed = new[:length] + old[length:]
        (folder / "odd").write_bytes(mixed)
        assert store.read().last == (third if mixed == new else SECOND)
        (folder / "odd").write_bytes(new[:length])
        assert store.read().last == SECOND
    assert whole < 4096


@pytest.mark.parametrize("call", ["fdatasync", "write", "ftruncate", "open"])
def test_a_write_that_fails_changes_nothing(
    store: AcceptedStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store.write(THIRD)
    store.write(replace(SECOND, version=4))
    following = replace(FIRST, version=5)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(CloisterError) as raised:
            store.write(following)
    assert raised.value.why == "No space left on device"
    assert store.read().last == replace(SECOND, version=4)
    store.write(following)
    assert store.read().last == following


def test_what_is_refused_at_last_does_not_stay(
    store: AcceptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is written, and the folder with its new name cannot be synced."""
    store.write(FIRST)
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CloisterError):
        store.write(SECOND)
    assert store.read().last == FIRST


def test_whether_one_runs_outlives_it(store: AcceptedStore) -> None:
    assert not store.running
    store.write(FIRST)
    store.begin()
    assert store.running
    store.end()
    store.end()
    assert not store.running
