"""What was signed is remembered: over restarts, cut-off lines and full disks."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.signer import ledger
from cloister.signer.ledger import Ledger, LedgerError, digest

NOW = 1_795_980_000.0
ONE, TWO, THREE = (digest("https://s3.example", "b", key) for key in ("one", "two", "three"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def again(folder: int, before: Ledger) -> Ledger:
    before.close()
    return Ledger(folder)


def test_an_object_is_itself_whatever_its_store_is_called() -> None:
    assert digest("https://s3.example", "b", "one") == ONE
    assert len({ONE, TWO, digest("https://s3.example", "bo", "ne")}) == 3


def test_what_is_entered_is_known_after_a_restart(folder: int) -> None:
    found = Ledger(folder)
    assert not found.issued(ONE)
    found.enter("app:blog", "backups", ONE, NOW)
    assert found.issued(ONE)
    found = again(folder, found)
    assert (found.issued(ONE), found.issued(TWO)) == (True, False)
    found.close()


def test_a_line_that_a_crash_has_cut_off_does_not_count(folder: int, tmp_path: Path) -> None:
    found = Ledger(folder)
    found.enter("app:blog", "backups", ONE, NOW)
    found.enter("app:blog", "backups", TWO, NOW)
    found.close()
    file = tmp_path / "issued"
    whole = file.read_bytes()
    for cut in range(len(whole) // 2 + 1, len(whole)):
        file.write_bytes(whole[:cut])
        found = Ledger(folder)
        assert (found.issued(ONE), found.issued(TWO)) == (True, False)
        found.enter("app:blog", "backups", THREE, NOW)
        found = again(folder, found)
        assert (found.issued(ONE), found.issued(THREE)) == (True, True)
        found.close()


@pytest.mark.parametrize("text", ["nonsense\n", f"1 a b {ONE} more\n", f"1 a b {ONE[:-1]}\n", "\n"])
def test_a_damaged_file_is_not_taken_for_an_empty_one(
    folder: int, tmp_path: Path, text: str
) -> None:
    (tmp_path / "issued").write_text(text)
    with pytest.raises(LedgerError):
        Ledger(folder)


def test_a_day_is_counted_for_each_asker_and_store(folder: int) -> None:
    found = Ledger(folder)
    for number, (asker, store, age) in enumerate(
        [
            ("app:blog", "backups", 90_000),
            ("app:blog", "backups", 80_000),
            ("app:blog", "backups", 1),
            ("app:blog", "other", 1),
            ("user:blog", "backups", 1),
        ]
    ):
        found.enter(asker, store, digest("", "", str(number)), NOW - age)
    found = again(folder, found)
    assert found.count("app:blog", "backups", NOW) == 2
    assert found.count("app:blog", "other", NOW) == 1
    assert found.count("app:shop", "backups", NOW) == 0
    found.close()


def test_memory_and_file_are_bounded(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "KEPT", 5)
    monkeypatch.setattr(ledger, "_SLACK", 10)
    found = Ledger(folder)
    digests = [digest("", "", str(number)) for number in range(100)]
    for number, one in enumerate(digests):
        found.enter("app:blog", "backups", one, NOW + number)
        assert len((tmp_path / "issued").read_bytes().splitlines()) <= 16
    found.enter("app:shop", "backups", ONE, NOW)
    found = again(folder, found)
    assert [found.issued(one) for one in digests[-6:]] == [False, *[True] * 5]
    assert found.issued(ONE)
    monkeypatch.setattr(ledger, "KEPT_IN_ALL", 4)
    found.enter("app:shop", "backups", TWO, NOW)
    found.enter("user:1", "backups", THREE, NOW)
    found = again(folder, found)
    assert [found.issued(one) for one in (digests[-2], digests[-1], ONE, TWO, THREE)] == [
        *(False, True, True, True, True)
    ]
    assert found.count("app:blog", "backups", NOW) == 1
    found.close()


def test_what_cannot_be_written_is_refused_and_stays_known(folder: int, tmp_path: Path) -> None:
    """In a process of its own: the limit would hold for the tests."""
    code = """
import os, resource, sys
from cloister.signer.ledger import Ledger, digest
folder = os.open(sys.argv[1], os.O_RDONLY)
found = Ledger(folder)
found.enter("app:blog", "backups", digest("", "", "one"), 1)
size = os.stat("issued", dir_fd=folder).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
try:
    found.enter("app:blog", "backups", digest("", "", "two"), 2)
except OSError:
    assert found.issued(digest("", "", "two"))
    assert os.stat("issued", dir_fd=folder).st_size == size
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "refused\n"
    found = Ledger(folder)
    assert found.issued(digest("", "", "one"))
    found.close()


def test_killed_at_any_time_nothing_that_was_said_is_forgotten(folder: int, tmp_path: Path) -> None:
    """A line is printed after each entry; what was printed is known to the next one."""
    code = """
import os, sys
from cloister.signer.ledger import Ledger, digest
found = Ledger(os.open(sys.argv[1], os.O_RDONLY))
start = int(sys.argv[2])
for number in range(start, start + 100000):
    found.enter("app:blog", "backups", digest("", "", str(number)), number)
    print(number, flush=True)
"""
    said: list[int] = []
    for round_ in range(3):
        command = [sys.executable, "-c", code, str(tmp_path), str(round_ * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said += [int(process.stdout.readline()) for _ in range(30)]
            process.send_signal(signal.SIGKILL)
            said += [int(line) for line in process.stdout.read().split()]
        found = Ledger(folder)
        assert all(found.issued(digest("", "", str(number))) for number in said)
        found.close()


def test_a_second_process_waits_for_the_first(folder: int, tmp_path: Path) -> None:
    first = Ledger(folder)
    code = "import os, sys; from cloister.signer.ledger import Ledger, digest\n"
    code += "print('asks', flush=True); found = Ledger(os.open(sys.argv[1], os.O_RDONLY))\n"
    code += f"print(found.issued({ONE!r}), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asks\n"
        first.enter("app:blog", "backups", ONE, NOW)
        first.close()
        assert process.stdout.readline() == "True\n"


def test_links_are_not_followed(folder: int, tmp_path: Path) -> None:
    (tmp_path / "issued").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic"):
        Ledger(folder)
