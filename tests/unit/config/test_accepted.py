"""The accepted configuration on disk: whole, or the one before, whatever happens."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.config.accepted import AcceptedStore, DamagedError
from cloister.model.configuration import Accepted, Configuration, Dialect
from cloister.model.errors import CloisterError

FIRST = Accepted(1, Configuration("# é\n\n", Dialect.TOML, "/etc/c.toml"), "digest", 12.5)
SECOND = replace(FIRST, version=2, configuration=replace(FIRST.configuration, text=""))


@pytest.fixture
def store(tmp_path: Path) -> AcceptedStore:
    return AcceptedStore(str(tmp_path / "state" / "configuration"))


def test_it_comes_back_as_it_was_and_so_does_the_one_before(
    store: AcceptedStore, tmp_path: Path
) -> None:
    assert store.read() is None
    store.write(FIRST)
    assert store.read() == FIRST
    assert store.previous() is None
    store.write(SECOND)
    assert store.read() == SECOND
    assert store.previous() == FIRST
    folder = tmp_path / "state" / "configuration"
    assert sorted(path.name for path in folder.iterdir()) == ["current", "previous"]
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("at", [0, 30, -1])
def test_a_changed_byte_is_noticed(store: AcceptedStore, tmp_path: Path, at: int) -> None:
    store.write(FIRST)
    store.write(replace(FIRST, version=2))
    path = tmp_path / "state" / "configuration" / "current"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        store.read()
    assert store.previous() == FIRST


def test_every_shorter_file_is_noticed(store: AcceptedStore, tmp_path: Path) -> None:
    store.write(FIRST)
    path = tmp_path / "state" / "configuration" / "current"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            store.read()


@pytest.mark.parametrize("call", ["fsync", "link", "rename"])
def test_a_write_that_fails_changes_nothing(
    store: AcceptedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store.write(FIRST)
    calls = {"fsync": "os.fsync", "link": "os.link", "rename": "pathlib.Path.replace"}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(calls[call], fail)
        with pytest.raises(CloisterError) as raised:
            store.write(SECOND)
    assert raised.value.why == "No space left on device"
    assert store.read() == FIRST
    store.write(SECOND)
    assert (store.read(), store.previous()) == (SECOND, FIRST)


def test_a_folder_that_cannot_be_synced_keeps_the_old_one(
    store: AcceptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(FIRST)
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CloisterError):
        store.write(SECOND)
    assert store.read() == FIRST


def test_whether_one_runs_outlives_it(store: AcceptedStore) -> None:
    assert not store.running
    store.write(FIRST)
    store.begin()
    assert store.running
    store.end()
    store.end()
    assert not store.running
