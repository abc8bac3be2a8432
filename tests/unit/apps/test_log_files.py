"""Log files: rotated, bounded, closed to others, read from the end, followed."""

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from cloister.apps.log_files import LogFiles, LogReader
from cloister.apps.logs import LogEvent


def write(path: Path, *numbers: int, size: int = 10_000, files: int = 3) -> None:
    kept = LogFiles(str(path), size=size, files=files)
    for number in numbers:
        kept.keep(LogEvent("blog", f"line {number}"))
    kept.close()


def newest(path: str, count: int) -> list[str]:
    with contextlib.closing(LogReader(path)) as reader:
        return reader.newest(count)


def numbers(lines: list[str]) -> list[int]:
    return [int(json.loads(line)["message"].split()[1]) for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "blog.log"


def test_nobody_else_reads_them(path: Path) -> None:
    before = os.umask(0)
    try:
        write(path, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_they_are_rotated_and_have_a_bound(path: Path) -> None:
    write(path, *range(500), size=2000, files=3)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "blog.log",
        "blog.log.1",
        "blog.log.2",
    ]
    assert all(file.stat().st_size <= 2000 for file in path.parent.iterdir())
    kept = numbers(newest(str(path), 1000))
    assert kept == list(range(kept[0], 500))
    assert len(kept) > 30


def test_one_file_alone_begins_anew(path: Path) -> None:
    write(path, *range(100), size=1000, files=1)
    assert [file.name for file in path.parent.iterdir()] == ["blog.log"]
    assert numbers(newest(str(path), 1000))[-1] == 99


def test_a_lower_number_of_files_removes_the_others(path: Path) -> None:
    write(path, *range(500), size=1000, files=5)
    (path.parent / "blog.log.old").write_text("mine")
    write(path, 500, size=1000, files=2)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "blog.log",
        "blog.log.1",
        "blog.log.old",
    ]


def test_the_next_supervisor_goes_on_in_the_same_file(path: Path) -> None:
    write(path, 1)
    write(path, 2)
    assert numbers(newest(str(path), 10)) == [1, 2]


def test_a_line_larger_than_a_file_is_kept_all_the_same(path: Path) -> None:
    kept = LogFiles(str(path), size=100, files=2)
    kept.keep(LogEvent("blog", "x" * 5000))
    kept.keep(LogEvent("blog", "line 2"))
    kept.close()
    assert len(newest(str(path), 10)) == 2


@pytest.mark.parametrize("count", [1, 5, 19, 20, 21])
def test_as_many_lines_as_wanted_from_the_end(path: Path, count: int) -> None:
    write(path, *range(20), size=700, files=10)
    assert numbers(newest(str(path), count)) == list(range(20))[-count:]


def test_long_lines_are_read_across_blocks(path: Path) -> None:
    kept = LogFiles(str(path), size=10_000_000, files=2)
    for number in range(40):
        kept.keep(LogEvent("blog", f"line {number} " + "x" * 8000))
    kept.close()
    assert numbers(newest(str(path), 30)) == list(range(10, 40))


def test_where_nothing_was_kept(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        newest(str(path), 10)


def test_a_link_in_their_place_is_not_followed(path: Path) -> None:
    path.parent.mkdir()
    target = path.parent.parent / "precious"
    target.write_text("mine")
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        write(path, 1)
    assert target.read_text() == "mine"


def test_a_full_disk_leaves_no_half_line(path: Path) -> None:
    code = """
import resource, signal, sys
from cloister.apps.log_files import LogFiles
from cloister.apps.logs import LogEvent
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept = LogFiles(sys.argv[1], size=10_000_000, files=2)
kept.keep(LogEvent("blog", "line 1"))
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    kept.keep(LogEvent("blog", "x" * 5000))
except OSError:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "refused\n"
    write(path, 2)
    assert numbers(newest(str(path), 10)) == [1, 2]


def test_following_goes_on_over_rotations(path: Path) -> None:
    write(path, 0)
    found: list[int] = []
    began = threading.Event()

    class EnoughError(Exception):
        pass

    def pause(_: float) -> None:
        began.set()
        if found and found[-1] == 299:
            raise EnoughError

    def read() -> None:
        with contextlib.suppress(EnoughError), contextlib.closing(LogReader(str(path))) as log:
            for line in log.follow(pause=pause):
                found.extend(numbers([line]))

    reader = threading.Thread(target=read)
    reader.start()
    assert began.wait(10)
    kept = LogFiles(str(path), size=5000, files=50)
    for number in range(1, 300):
        kept.keep(LogEvent("blog", f"line {number}"))
        if number % 40 == 0:  # within a file's length, or what is older has gone on
            wait_until(lambda number=number: found and found[-1] == number, what="reading")
    kept.close()
    reader.join(20)
    assert found == list(range(1, 300))


def test_following_waits_for_the_first_line(path: Path) -> None:
    began = threading.Event()
    found: list[str] = []

    def read() -> None:
        with contextlib.closing(LogReader(str(path))) as log:
            found.append(next(log.follow(pause=lambda _: began.set())))

    reader = threading.Thread(target=read)
    reader.start()
    assert began.wait(10)
    write(path, 7)
    reader.join(20)
    assert numbers(found) == [7]


def test_between_what_was_and_what_follows_no_line_is_missed(path: Path) -> None:
    write(path, *range(10), size=500, files=9)
    with contextlib.closing(LogReader(str(path))) as log:
        write(path, *range(10, 30), size=500, files=9)
        assert numbers(log.newest(3)) == [7, 8, 9]
        following = log.follow()
        assert numbers([next(following) for _ in range(20)]) == list(range(10, 30))
