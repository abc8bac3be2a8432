"""Small files of state: whole, or as they were before."""

import threading
from pathlib import Path

import pytest

from cloister.cells.stored import StoredFile
from cloister.model.errors import CloisterError


def stored(path: Path) -> StoredFile:
    return StoredFile(str(path), "store of things", "remove it")


def test_what_was_written_is_read_and_nothing_else_lies_about(tmp_path: Path) -> None:
    file = stored(tmp_path / "state" / "things.json")
    assert file.read() == {}
    with file.locked():
        file.write({"b": 1, "a": {"x": [1]}})
    assert file.read() == {"a": {"x": [1]}, "b": 1}
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert names == ["things.json", "things.json.lock"]


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "things.json"

    def count() -> None:
        for _ in range(20):
            file = stored(path)
            with file.locked():
                now = file.read().get("count", 0)
                assert isinstance(now, int)
                file.write({"count": now + 1})

    counting = [threading.Thread(target=count) for _ in range(3)]
    for one in counting:
        one.start()
    for one in counting:
        one.join()
    assert stored(path).read() == {"count": 60}


@pytest.mark.parametrize("text", ["{", "[]", "5", "\xff"])
def test_a_damaged_one_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "things.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CloisterError, match=f"the store of things {path}") as caught:
        stored(path).read()
    assert caught.value.hint == "remove it"


def test_one_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CloisterError, match="cannot be locked"),
        stored(tmp_path / "file" / "things.json").locked(),
    ):
        pass
