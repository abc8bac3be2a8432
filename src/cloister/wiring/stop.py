"""What the signals do that a supervisor is sent."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

from cloister.apps.logs import Level, Sink
from cloister.wiring.announcement import say

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """What the stop signals do."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.requested = asyncio.Event()
        """Set by the first signal."""
        self.on_second: Callable[[], None] = lambda: None
        self._on_hangup: Callable[[], None] | None = None
        self._hung_up = False

    def follow_hangups(self, call: Callable[[], None]) -> None:
        """Have ``call`` called for each SIGHUP from now on, and for those that have come."""
        self._on_hangup = call
        if self._hung_up:
            call()

    def hung_up(self) -> None:
        """SIGHUP has come."""
        say(self._sink, "SIGHUP: taking an edited configuration file, and replacing the door")
        self._hung_up = True
        if self._on_hangup is not None:
            self._on_hangup()

    def signalled(self, name: str) -> None:
        """A stop signal has come."""
        if self.requested.is_set():
            say(self._sink, f"{name} again: ending everything now", Level.WARNING)
            self.on_second()
        self.requested.set()


@contextlib.contextmanager
def signals(sink: Sink) -> Iterator[Stop]:
    """The stop signals set an event, for as long as the block runs."""
    loop = asyncio.get_running_loop()
    stop = Stop(sink)
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.signalled, number.name)
    loop.add_signal_handler(signal.SIGHUP, stop.hung_up)
    try:
        yield stop
    finally:
        for number in (*_STOP_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)
