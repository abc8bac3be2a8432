"""Tests that play in a world of fakes, on an event loop of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Sized
from typing import Any, Protocol, TypeVar

from cloister.apps.machine import State


class World(Protocol):
    """Programs that are kept alive, and what they do."""

    @property
    def alive(self) -> Sized:
        """The processes that run now."""

    def force(self) -> None:
        """Has all end now."""

    async def reach(self, *states: State) -> State:
        """The first of these states that what keeps them is in."""

    def said(self) -> list[dict[str, Any]]:
        """What was logged; nothing is any more."""


SomeWorld = TypeVar("SomeWorld", bound=World)
Test = Callable[[SomeWorld], Awaitable[None]]


def scenarios(make: Callable[..., SomeWorld]) -> Callable[..., Callable[[Any], Callable[[], None]]]:
    """A decorator that runs a test with a world of its own; afterwards no task may be left. What
    the decorator is called with ``make`` is called with."""

    def scenario(**options: Any) -> Callable[[Test[SomeWorld]], Callable[[], None]]:
        def decorate(test: Test[SomeWorld]) -> Callable[[], None]:
            async def run() -> None:
                world = make(**options)
                await test(world)
                world.force()
                await world.reach(State.STOPPED)
                assert not world.alive
                for _ in range(5):
                    await asyncio.sleep(0)
                assert asyncio.all_tasks() == {asyncio.current_task()}
                assert "internal fault" not in str(world.said())

            def synchronous() -> None:
                asyncio.run(run())

            return synchronous

        return decorate

    return scenario
