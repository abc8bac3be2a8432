"""Names of hosts directories: what is told of each, and how many."""

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.status import STATUS

from cloister.observe import host_names
from cloister.observe.host_names import HostName, look, places


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Each kind of name, some with somebody who listens."""
    with ExitStack() as stack:

        def listen(place: str) -> None:
            path = tmp_path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(str(path))
            one.listen()

        for place in (
            "plain.example/tls-socket",
            "taken.example/handoff-socket",
            "both.example/tls-socket",
            "both.example/alpn/acme-tls%2F1/tls-socket",
            "*.shop.example/tls-socket",
            "_default/tls-socket",
        ):
            listen(place)
        (tmp_path / "empty.example").mkdir()
        yield tmp_path


def test_each_kind_of_name(root: Path) -> None:
    found = {one.name: one for one in look((str(root), False)).names}
    assert {name: (one.targets, one.state) for name, one in found.items()} == {
        "*.shop.example": (("tls-socket",), "serving"),
        "_default": (("tls-socket",), "serving"),
        "both.example": (("tls-socket", "alpn/acme-tls%2F1"), "serving"),
        "empty.example": ((), "refused"),
        "plain.example": (("tls-socket",), "serving"),
        "taken.example": (("handoff-socket",), "serving"),
    }
    assert "nobody has made the socket yet" in str(found["empty.example"].problem)


def test_no_more_names_than_there_is_room_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_names, "NAMES", 4)
    found = look((str(root), False))
    assert (len(found.names), found.more) == (4, True)
    monkeypatch.setattr(host_names, "NAMES", 6)
    assert not look((str(root), False)).more


def test_what_cannot_be_looked_at(root: Path) -> None:
    assert "there is no hosts directory" in str(look((f"{root}/none", False)).problem)
    (root / "file").touch()
    odd = {one.name: one for one in look((str(root), False)).names}["file"]
    assert isinstance(odd, HostName)
    assert odd.state == "refused"


def test_one_directory_of_several_addresses_is_looked_at_once() -> None:
    one = dataclasses.replace(STATUS.listeners[0], hosts_directory="/srv/hosts", hashed=True)
    assert places((one, one, STATUS.listeners[1])) == {("/srv/hosts", True)}
