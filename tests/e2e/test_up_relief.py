"""``cloister up``: processes that have answered their number of requests are relieved, under real
traffic."""

import time
from collections.abc import Iterator

import pytest
from tests.support.traffic import NAMED, Traffic, pids
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

from cloister.apps.relief import SERVES_AT_LEAST


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        up = Up(folder)
        yield up
        up.close()


@pytest.mark.parametrize("endpoint", ["inherit", pytest.param("handoff", marks=pytest.mark.slow)])
def test_each_process_is_followed_by_another_and_no_request_fails(up: Up, endpoint: str) -> None:
    settings = f'processes = 2\nendpoint = "{endpoint}"\nrestart = {{ after-requests = 20 }}\n'
    up.write({"one": NAMED}, settings)
    up.start()
    up.wait_ready()
    first = wait_until(
        lambda: len(found := pids(up.app("one"))) == 2 and found, what="both", seconds=30
    )
    assert first
    with Traffic.by_name(up, "one.example") as traffic:
        traffic.until_replaced(up, "one", first)
    assert traffic.failures == []
    assert len(traffic.answers) >= 4
    assert up.app("one").failure is None
    said = up.said("one")
    assert sum("number of requests" in line for line in said) >= 3
    assert not any("ended by itself" in line or "starts again" in line for line in said)


def test_of_what_must_be_one_there_are_never_two_and_connections_wait(up: Up) -> None:
    up.write({"one": NAMED}, "restart = { after-requests = 20, rolling = false }\n")
    up.start()
    up.wait_ready()
    with Traffic.by_name(up, "one.example") as traffic:

        def relieved() -> bool:
            now = up.app("one")
            assert len(now.processes) <= 1
            assert not traffic.failures
            return now.restarts >= 2

        wait_until(relieved, what="two reliefs", seconds=90, interval=0.05)
        traffic.go_on(20)
    assert traffic.failures == []
    assert up.app("one").failure is None


@pytest.mark.slow
def test_what_a_killed_supervisor_has_not_heard_the_next_one_hears(up: Up) -> None:
    up.write({"one": NAMED}, "restart = { after-requests = 20 }\n")
    up.start()
    up.wait_ready()
    before = pids(up.app("one"))
    with Traffic.by_name(up, "one.example", threads=1) as traffic:
        traffic.go_on(20)
    # It has its number, and has not served for long enough.
    up.kill()
    up.start()
    up.wait_ready()
    assert pids(up.app("one")) == before
    wait_until(lambda: pids(up.app("one")).isdisjoint(before), what="a relief", seconds=60)
    assert up.app("one").failure is None


CLAIMS = (
    NAMED
    + """
import socket, threading, time
def claim():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(os.environ["NOTIFY_SOCKET"])
        while True:
            sender.send(b"X_CLOISTER_RELIEF=1")
            time.sleep(0.001)
threading.Thread(target=claim, daemon=True).start()
"""
)
"""Says all the time that it has done its share."""


@pytest.mark.slow
def test_one_that_asks_all_the_time_is_relieved_no_faster(up: Up) -> None:
    up.write({"one": CLAIMS, "two": CLAIMS}, "restart = { after-requests = 1000000 }\n")
    up.start()
    up.wait_ready()
    with Traffic.by_name(up, "two.example", threads=1) as traffic:
        started = up.app("two").restarts
        clock = Clock()
        wait_until(lambda: up.app("two").restarts >= started + 3, what="reliefs", seconds=90)
        # The first of them may have been ready for a while.
        assert clock.seconds > 2 * SERVES_AT_LEAST
    assert traffic.failures == []
    assert up.app("one").restarts == 0  # nobody asked to have its requests counted


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin
