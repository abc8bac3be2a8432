"""What the story of nginx and a PHP backend on a moving address is told with: php-fpm, a name
that moves, and somebody who asks all the time."""

import contextlib
import http.client
import threading
from collections.abc import Callable

from tests.support.waiting import wait_until

NAME = "remote.php.backend.domain.tld."
FIRST, SECOND = "127.0.1.1", "127.0.1.2"
"""Where the backend is before and after it moves."""

SCRIPT = (
    '<?php header("X-Backend: " . getenv("BACKEND")); echo "This is the output from PHP\\n" ?>\n'
)
OUTPUT = b"This is the output from PHP\n"


def pool(address: str, log: str) -> str:
    """A configuration of php-fpm for one address."""
    return f"""\
[global]
error_log = {log}
daemonize = no
[www]
user = www-data
group = www-data
listen = {address}:9000
listen.backlog = 4096
pm = static
pm.max_children = 4
clear_env = no
env[BACKEND] = {address}
"""


class Visitors:
    """A few who ask again and again, each on a new connection; their threads begin within
    ``entering``, the way into the network of the web server."""

    def __init__(
        self, entering: Callable[[], contextlib.AbstractContextManager[None]], count: int = 2
    ) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.backend: str | None = None
        """The one that answered last."""
        self._entering = entering
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask_all_the_time) for _ in range(count)]

    def _ask_all_the_time(self) -> None:
        with self._entering():
            while not self._stopping.is_set():
                self._ask()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
        try:
            connection.request("GET", "/test.php")
            response = connection.getresponse()
            body = response.read()
            if response.status != 200 or body != OUTPUT:
                self.failures.append(f"{response.status} {body[:200]!r}")
            self.backend = response.getheader("X-Backend")
            self.answered += 1
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
        finally:
            connection.close()

    def wait_for(self, backend: str, more: int = 20, *, seconds: float = 20) -> None:
        """Returns when ``backend`` answers, and has for ``more`` requests in all."""
        wait_until(lambda: self.backend == backend, seconds=seconds, what=f"answers of {backend}")
        goal = self.answered + more
        wait_until(lambda: self.answered >= goal, seconds=seconds, what=f"{more} more answers")
        assert self.backend == backend

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
