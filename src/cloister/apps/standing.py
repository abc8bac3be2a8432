"""A state that others wait for."""

import asyncio
import time

from cloister.apps.machine import State


class Standing:
    """Where a program stands, and since when. Lives on one event loop."""

    def __init__(self) -> None:
        self.state = State.STOPPED
        self.since = time.time()
        """In seconds since 1970-01-01 UTC."""
        self._waiters: list[tuple[tuple[State, ...], asyncio.Future[State]]] = []

    def enter(self, state: State) -> bool:
        """Whether it is another one than before."""
        if state is self.state:
            return False
        self.state = state
        self.since = time.time()
        for states, waiter in self._waiters:
            if state in states and not waiter.done():
                waiter.set_result(state)
        return True

    async def wait(self, *states: State) -> State:
        """Returns the first of these states that it is in, however briefly it is."""
        if self.state in states:
            return self.state
        waiter: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        self._waiters.append((states, waiter))
        try:
            return await waiter
        finally:
            self._waiters.remove((states, waiter))
