"""When certificates are followed by new ones."""

import asyncio
import io
import json
import time

import pytest

from cloister.apps.certificates import RENEWAL, Certificates
from cloister.apps.logs import LogFormat, Sink
from cloister.apps.renewal import RETRY, Renewal
from cloister.model.errors import CloisterError


class Authority(Certificates):
    """Makes new ones in no time, unless that is refused."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__("/nowhere", {})
        self.path = "/nowhere/authority.crt"
        self._refusals = refusals

    async def renew(self) -> bool:
        if self._refusals:
            self._refusals -= 1
            raise CloisterError("the disk is full")
        return False


class World:
    """Its clock goes on when somebody waits; after so many pauses it ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pauses: int) -> None:
        self.trace: list[float | str] = []
        self.log = io.StringIO()
        self._left = pauses
        self._end = asyncio.Event()
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.trace.append(seconds)
        self._left -= 1
        if self._left == 0:
            self._end.set()
            await asyncio.Event().wait()

    def play(self, authority: Authority, since: float) -> None:
        async def run() -> None:
            renewal = Renewal(authority, sink, lambda: self.trace.append("renewed"))
            renewal.begin(since)
            renewal.begin(since)  # says nothing new
            await asyncio.wait_for(self._end.wait(), 10)
            renewal.cancel()

        sink = Sink(self.log, LogFormat.JSON)
        try:
            asyncio.run(run())
        finally:
            sink.close()


def test_the_oldest_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, pauses=1)
    world.play(Authority(), time.time() - 1000)
    assert world.trace == [pytest.approx(RENEWAL - 1000, abs=30)]


def test_overdue_ones_are_followed_at_once_and_the_next_ones_in_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, pauses=3)
    world.play(Authority(), 0)
    assert world.trace == [0, "renewed", RENEWAL, "renewed", RENEWAL]


def test_a_refusal_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, pauses=3)
    world.play(Authority(refusals=1), 0)
    assert world.trace == [0, RETRY, "renewed", RENEWAL]
    [line] = map(json.loads, world.log.getvalue().splitlines())
    assert line["message"] == ("certificates are not renewed, next try in a day: the disk is full")
    assert line["level"] == "error"


def test_where_there_are_none_nobody_waits() -> None:
    async def run() -> None:
        authority = Authority()
        authority.path = None
        Renewal(authority, Sink(io.StringIO()), lambda: None).begin(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
