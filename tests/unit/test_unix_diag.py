"""Dumps of Unix sockets: whole, although the kernel makes them in parts."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloister import unix_diag
from cloister.unix_diag import LISTEN, SHOW_NAME, Answer


def answer(inode: int) -> Answer:
    return Answer(1, LISTEN, inode, {})


@pytest.mark.parametrize(
    ("dumps", "whole"),
    [
        ([{1, 2}, {1, 2}], {1, 2}),
        # One that the second dump leaves out is there after all.
        ([{1, 2, 3}, {1, 3}, {1, 2, 3}], {1, 2, 3}),
        ([{1, 3}, {1, 2, 3}], {1, 2, 3}),
        # One that was closed is not.
        ([{1, 2, 3}, {1, 3}, {1, 3}], {1, 3}),
        # One that has come is told once.
        ([{1, 2}, {1, 3}, {1, 2, 3}], {1, 2, 3}),
    ],
)
def test_what_one_dump_leaves_out(
    monkeypatch: pytest.MonkeyPatch, dumps: list[set[int]], whole: set[int]
) -> None:
    said = iter(dumps)

    def exchange(*_: int) -> Iterator[Answer]:
        return map(answer, sorted(next(said)))

    monkeypatch.setattr(unix_diag, "_exchange", exchange)
    found = [one.inode for one in unix_diag.dump(1 << LISTEN, 0)]
    assert sorted(found) == sorted(whole)
    assert next(said, None) is None


def test_every_socket_is_in_it_while_others_come_and_go(tmp_path: Path) -> None:
    """More than fit into the first part of a dump, so that each is made in several."""
    with ExitStack() as stack:
        kept = set()
        for number in range(200):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(str(tmp_path / str(number)))
            one.listen()
            kept.add(os.fstat(one.fileno()).st_ino)
        over = threading.Event()

        def come_and_go() -> None:
            place = tmp_path / "other"
            while not over.is_set():
                with socket.socket(socket.AF_UNIX) as other:
                    other.bind(str(place))
                    place.unlink()

        thread = threading.Thread(target=come_and_go)
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        for _ in range(50):
            found = [one.inode for one in unix_diag.dump(1 << LISTEN, SHOW_NAME)]
            assert kept <= set(found)
            assert len(set(found)) == len([one for one in found if one])
