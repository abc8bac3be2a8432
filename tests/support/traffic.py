"""Requests without pause, and which process of an application answers them."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from tests.support.up import Client, Up
from tests.support.waiting import wait_until

from cloister.apps.status import AppStatus

NAMED = """
import os
NAME = os.urandom(8).hex().encode()
async def app(scope, receive, send):
    body = NAME
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
"""Answers with a name that each process takes for itself."""


class Traffic:
    """Requests without pause from several threads, each on a connection of its own."""

    def __init__(self, askers: Sequence[Callable[[], bytes]]) -> None:
        """Each of ``askers`` makes one request after the other, in a thread of its own."""
        self.answers: Counter[bytes] = Counter()
        self.failures: list[BaseException] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(ask,)) for ask in askers]

    @classmethod
    def by_name(cls, up: Up, host: str, threads: int = 4) -> "Traffic":
        """Through the TLS listener of a native configuration."""
        return cls([Client(up, host).get for _ in range(threads)])

    def _run(self, ask: Callable[[], bytes]) -> None:
        while not self._over.is_set():
            try:
                answer = ask()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is counted
                self.failures.append(error)
                return
            with self._lock:
                self.answers[answer] += 1

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def count(self) -> int:
        return self.answers.total()

    def go_on(self, requests: int) -> None:
        """Returns after so many more answers."""
        goal = self.count + requests
        wait_until(
            lambda: self.count >= goal or self.failures, what=f"{requests} answers", seconds=60
        )

    def until_replaced(self, up: Up, name: str, first: set[int]) -> None:
        """Returns when none of the ``first`` processes of an application serves any more, after
        three reliefs at least, and some answers more; at every moment somebody serves."""

        def replaced() -> bool:
            now = up.app(name)
            assert now.state == "ready"
            assert not self.failures
            return now.restarts >= 3 and not pids(now) & first

        wait_until(replaced, what="other processes", seconds=90, interval=0.05)
        self.go_on(20)


def pids(app: AppStatus) -> set[int]:
    """Of the processes that serve."""
    return {one.pid for one in app.processes if one.pid is not None and one.state == "ready"}
