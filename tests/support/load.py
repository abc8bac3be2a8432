"""Keyed conversations by several clients at once, for as long as a test needs them."""

import asyncio
import collections
import random
import socket
import threading
from collections.abc import Callable

from tests.support.keyed import Conversation, Outcome, Result, Style, converse, serve
from tests.support.waiting import wait_until


class KeyedTarget:
    """Serves conversations on a listening socket, in a thread of its own."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening.dup()
        self._listening.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        server = await asyncio.start_server(serve, sock=self._listening, backlog=4096)
        await self._ended.wait()
        server.close()

    def close(self) -> None:
        """Returns when no conversation goes on; those under way are cut."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)


class Load:
    """Clients that converse one time after the other, until :meth:`stop`."""

    def __init__(
        self, connect: Callable[[], socket.socket], *, clients: int = 8, preface: bytes = b""
    ) -> None:
        """``connect`` makes a connected socket, on an event loop's thread, at once."""
        self._connect = connect
        self._preface = preface
        self._clients = clients
        self._stopped = threading.Event()
        self.results: list[Result] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()

    async def _main(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._clients)))

    async def _client(self, number: int) -> None:
        dice = random.Random(number)
        turn = 0
        while not self._stopped.is_set():
            turn += 1
            conversation = Conversation(
                key=number * 1_000_003 + turn,
                # Mostly small, now and then more than every buffer on the way.
                up=dice.choice((0, 1, 700, 20_000, 20_000, 400_000)),
                down=dice.choice((0, 1, 700, 20_000, 20_000, 400_000)),
                style=dice.choice((Style.PLAIN, Style.PLAIN, Style.ANSWER_AFTER_END)),
            )
            result = await converse(self._open, conversation, preface=self._preface)
            self.results.append(result)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(sock=self._connect())

    def wait_progress(self, count: int) -> None:
        """Returns when so many more conversations have ended."""
        goal = len(self.results) + count
        wait_until(lambda: len(self.results) >= goal, what="conversations", seconds=60)

    def stop(self) -> collections.Counter[Outcome]:
        """Ends every client after its conversation; how all of them went."""
        self._stopped.set()
        self._thread.join(90)
        assert not self._thread.is_alive(), "a conversation does not end"
        return collections.Counter(result.outcome for result in self.results)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.outcome is not Outcome.COMPLETE]
