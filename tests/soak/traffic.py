"""Clients that converse in every way at once, and judge what they see."""

import asyncio
import collections
import random
import time
from dataclasses import dataclass, field

from tests.soak.systems import System, Way
from tests.support.keyed import Conversation, Outcome, Result, Style, converse

SLACK = 1.5
"""Seconds that a killed process, its cell or its queue may go on to take or lose something."""

PATIENCE = 120.0

SMALL = (0, 1, 300, 4_000, 20_000)
LARGE = (200_000, 1_500_000)
VERY_LARGE = (8_000_000,)


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    outcomes: collections.Counter[tuple[str, Outcome]] = field(default_factory=collections.Counter)
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


class Traffic:
    """A number of clients, each with one conversation after the other."""

    def __init__(self, systems: list[System], clients: int, seed: int) -> None:
        self._ways = [way for system in systems for way in system.ways]
        self._clients = clients
        self._dice = random.Random(seed)
        self._key = 0
        self.tally = Tally()

    async def run(self, until: float) -> None:
        """Converse until that moment (time.monotonic()), then end what is under way."""
        await asyncio.gather(*(self._client(until) for _ in range(self._clients)))

    async def _client(self, until: float) -> None:
        while time.monotonic() < until:
            way = self._dice.choice(self._ways)
            conversation = self._conversation(way)
            begun = time.monotonic()

            async def connect(
                way: Way = way,
            ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                return await asyncio.open_connection(*way.address)

            result = await converse(connect, conversation, preface=way.preface, patience=PATIENCE)
            self._judge(way, conversation, result, begun)

    def _conversation(self, way: Way) -> Conversation:
        self._key += 1
        if not way.exists:
            # As much as a client sends before it waits: the alert must reach it.
            return Conversation(self._key, 300, 300)
        dice = self._dice
        sizes = dice.choices((SMALL, LARGE, VERY_LARGE), weights=(80, 18, 2))[0]
        style = dice.choices(
            (Style.PLAIN, Style.ANSWER_AFTER_END, Style.SLOW_TARGET, Style.SLOW_CLIENT),
            weights=(60, 20, 10, 10),
        )[0]
        if style in (Style.SLOW_TARGET, Style.SLOW_CLIENT):
            # Some 200 KB/s: seconds, in which much may happen.
            sizes = (20_000, 200_000, 600_000)
        up, down = dice.choice(sizes), dice.choice(sizes)
        if dice.random() < 0.3:
            up, down = dice.choice(((up, 0), (0, down)))
        return Conversation(self._key, up, down, style)

    def _judge(self, way: Way, conversation: Conversation, result: Result, begun: float) -> None:
        tally, system = self.tally, way.system
        tally.outcomes[system.name, result.outcome] += 1
        tally.bytes += result.received
        if result.outcome is Outcome.COMPLETE:
            tally.bytes += conversation.up
        if result.outcome is (Outcome.COMPLETE if way.exists else Outcome.ALERT):
            return
        ended = time.monotonic()
        excused = any(begun - SLACK <= death <= ended for death in system.deaths)
        may_be = (Outcome.CUT, Outcome.ALERT) if way.exists else (Outcome.CUT,)
        if result.outcome in may_be and excused:
            return
        tally.faults.append(
            f"{system.name}, after {ended - begun:.3f} s: {result.outcome.value}"
            f" ({result.detail}) of {conversation}, hello {len(way.preface)} bytes"
        )
