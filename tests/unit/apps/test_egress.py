"""How the sockets of a new cell come out of it; the rest needs cells (tests/e2e)."""

import contextlib
import socket

import pytest

from cloister.apps.egress import Ways
from cloister.model.app import App, CommandProgram
from cloister.model.egress import Egress
from cloister.model.errors import CloisterError
from cloister.model.route import TcpTarget

APP = App(
    "a",
    CommandProgram(("/bin/a",)),
    None,
    egress=tuple(
        Egress("db", port, "127.0.1.1", TcpTarget("db.internal", port)) for port in (1, 2)
    ),
)


def test_they_come_in_their_order() -> None:
    with (
        contextlib.closing(Ways(APP)) as ways,
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        socket.send_fds(ways.theirs, [b"\0"], [one.fileno(), two.fileno()])
        received = ways.receive()
        assert [each.getsockname() for each in received] == [one.getsockname(), two.getsockname()]
        for each in received:
            each.close()


def test_too_few_or_none_are_an_error_and_nothing_stays_open() -> None:
    with (
        contextlib.closing(Ways(APP)) as ways,
        socket.create_server(("127.0.0.1", 0)) as one,
    ):
        with pytest.raises(CloisterError, match="are not there") as caught:
            ways.receive()
        assert caught.value.why == "Resource temporarily unavailable"
        socket.send_fds(ways.theirs, [b"\0"], [one.fileno()])
        with pytest.raises(CloisterError) as caught:
            ways.receive()
        assert caught.value.why == "1 of 2 sockets have come"
