"""How the sockets of a new cell come out of it; the rest needs cells (tests/e2e)."""

import contextlib
import socket
from dataclasses import replace

import pytest

from cloister.apps.egress import Ways, counted
from cloister.apps.status import EgressStatus
from cloister.door.messages import ListenerStatistics
from cloister.door.totals import NOTHING
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


def test_the_places_of_one_way_are_counted_together() -> None:
    way = Egress("db", 1, "127.0.1.1", TcpTarget("db.internal", 1), "/run/db.sock")
    statistics = replace(
        NOTHING,
        listeners=(
            ListenerStatistics(
                "db:1", "127.0.1.1:1", 5, 2, 10, 20, {"complete": 1, "target-timeout": 2}
            ),
            ListenerStatistics("db:1", "unix:/run/db.sock", 1, 0, 1, 2, {"target-timeout": 1}),
            ListenerStatistics("other:1", "127.0.1.2:1", 9, 9, 9, 9, {"complete": 9}),
        ),
    )
    assert counted(way, statistics) == EgressStatus(
        name="db:1",
        target="tcp:db.internal:1",
        accepted=6,
        active=2,
        failed=3,
        bytes_to_target=11,
        bytes_to_client=22,
        outcomes={"complete": 1, "target-timeout": 3},
    )
    assert counted(way, NOTHING).accepted == 0
