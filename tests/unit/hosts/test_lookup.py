"""The rules of a hosts directory, where no door is needed to tell."""

from pathlib import Path

import pytest

from cloister.hosts.hashed import hashed_name
from cloister.hosts.lookup import Answer, look_up, protocol_name


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        (b"h2", "h2"),
        (b"acme-tls/1", "acme-tls%2F1"),
        (b"w=x:y#z", "w%3Dx%3Ay#z"),
        (b"x%y", "x%25y"),
        (b".", "%2E"),
        (b"..", "%2E."),
        (b"../../etc", "%2E.%2F..%2Fetc"),
        (b"a\0b", "a%00b"),
        (b"\xff\x0a", "%FF%0A"),
    ],
)
def test_protocols_are_called_as_the_door_calls_them(identifier: bytes, name: str) -> None:
    """The same list as in ``crates/proto/src/alpn.rs``."""
    assert protocol_name(identifier) == name


def test_what_was_passed_over_is_said_in_order(tmp_path: Path) -> None:
    answer = look_up(tmp_path, "a.example")
    assert answer == Answer(
        None,
        None,
        "no folder takes this name",
        ("a.example: there is none", "*.example: there is none", "_default: there is none"),
    )
    assert look_up(tmp_path, None).passed_over == ("_default: there is none",)
    assert look_up(tmp_path, "localhost").passed_over[1:] == ("_default: there is none",)


def test_hashed_folders_are_asked_for_by_their_hashes(tmp_path: Path) -> None:
    (tmp_path / "a.example").mkdir()
    assert look_up(tmp_path, "a.example", hashed=True).entry is None
    (tmp_path / hashed_name("*.example")).mkdir()
    answer = look_up(tmp_path, "a.example", hashed=True)
    assert answer.entry == hashed_name("*.example")
    assert "nobody has made the socket" in (answer.refused or "")


def test_a_link_to_the_directory_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a.example").symlink_to("..")
    assert "missing" in (look_up(tmp_path, "a.example").refused or "")
    (tmp_path / "b.example").symlink_to("./" * 2_000)
    assert "too many links" in (look_up(tmp_path, "b.example").refused or "")
