"""What is written into the files of a group, in a folder that stands for one."""

import errno
from pathlib import Path

import pytest

from cloister.cells.cgroups.limits import Write
from cloister.cells.cgroups.tree import write_all

BFQ = Write("io.bfq.weight", "800", optional=True)
COST = Write("io.weight", "default 800", optional=True)


@pytest.mark.parametrize(
    ("there", "last"),
    [
        (["io.bfq.weight", "io.weight"], "io.weight"),
        (["io.bfq.weight"], "io.bfq.weight"),
        (["io.weight"], "io.weight"),
    ],
)
def test_each_file_that_is_there_is_written_and_the_last_one_named(
    there: list[str], last: str, tmp_path: Path
) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert write_all(str(tmp_path), (BFQ, COST)) == str(tmp_path / last)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {one.file: one.text for one in (BFQ, COST) if one.file in there}


def test_a_limit_that_no_file_takes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_all(str(tmp_path), (BFQ, COST))
    assert raised.value.errno == errno.ENOENT
    assert raised.value.filename == str(tmp_path / "io.weight")


def test_a_file_that_has_to_be_there_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "second").touch()
    with pytest.raises(FileNotFoundError):
        write_all(str(tmp_path), (Write("first", "1"), Write("second", "2")))
    assert (tmp_path / "second").read_text() == ""


def test_where_there_is_nothing_to_write_the_folder_is_named(tmp_path: Path) -> None:
    assert write_all(str(tmp_path), ()) == str(tmp_path)
