"""The journal's native protocol, read as its own documentation says."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.apps.journal import Journal, is_output, is_there, message
from cloister.apps.logs import Level, LogEvent


def parsed(datagram: bytes) -> dict[str, str]:
    """systemd.io/JOURNAL_NATIVE_PROTOCOL: ``NAME=value`` or name, length, value."""
    fields = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest.startswith(b"\n")
            rest = rest[1:]
        fields[name.decode()] = value.decode()
        datagram = rest
    return fields


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(str(tmp_path / "socket"))
        receiving.settimeout(10)
        yield receiving


def test_a_line_with_its_fields(journal: socket.socket) -> None:
    kept = Journal(alone=False, path=journal.getsockname())
    fields = {"event": "output", "stream": "stderr", "pid": None}
    kept.keep(LogEvent("blog", "hello", fields=fields))
    assert parsed(journal.recv(4096)) == {
        "MESSAGE": "hello",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "blog",
        "CLOISTER_APP": "blog",
        "CLOISTER_EVENT": "output",
        "CLOISTER_STREAM": "stderr",
    }
    kept.close()


def test_an_error_with_its_details() -> None:
    found = parsed(message(LogEvent("blog", "ended", Level.ERROR, ("Traceback", "  x"))))
    assert found["MESSAGE"] == "ended\n    Traceback\n      x"
    assert found["PRIORITY"] == "3"


@pytest.mark.parametrize("text", ["a\nPRIORITY=0", "MESSAGE=x", "", "ünï\ud800"])
def test_no_text_forges_a_field(text: str) -> None:
    found = parsed(message(LogEvent("blog", text)))
    assert found["PRIORITY"] == "6"
    assert found["MESSAGE"] == text.encode("utf-8", "replace").decode()


def test_a_journal_that_was_started_anew_is_found(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    kept = Journal(alone=False, path=path)
    for number in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
            receiving.settimeout(10)
            receiving.bind(path)
            kept.keep(LogEvent("blog", str(number)))
            assert parsed(receiving.recv(4096))["MESSAGE"] == str(number)
        os.unlink(path)  # noqa: PTH108 - a text
        with pytest.raises(FileNotFoundError):
            kept.keep(LogEvent("blog", "lost"))
    kept.close()


def test_whether_it_is_there(journal: socket.socket, tmp_path: Path) -> None:
    assert is_there(journal.getsockname())
    assert not is_there(str(tmp_path / "nothing"))
    (tmp_path / "file").touch()
    assert not is_there(str(tmp_path / "file"))


def test_whether_the_output_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as output:
        found = os.fstat(output.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert is_output({"JOURNAL_STREAM": stream}, output.fileno())
        assert not is_output({"JOURNAL_STREAM": "8:1"}, output.fileno())
        assert not is_output({}, output.fileno())
