"""Processes of a pool that say that they have done their share: one that says so truly, and ones
that say so all the time."""

import asyncio

import pytest
from tests.support.pool_world import World, scenario

from cloister.apps import relief
from cloister.apps.machine import State
from cloister.model.lifecycle import Processes, RestartPolicy

NOT_ROLLING = RestartPolicy(rolling=False)


async def turns() -> None:
    """Lets happen what is due now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def serving(world: World, count: int) -> None:
    """Starts the pool; its processes have served long enough to be relieved."""
    world.pool.start()
    await world.until(lambda: world.count(State.READY) == count)
    world.now += relief.SERVES_AT_LEAST


def test_the_next_one_is_ready_before_the_one_before_it_is_told_to_stop() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        await serving(world, 2)
        first, second = world.made
        world.ready_at_once = False
        world.pool.relieve(first)
        await world.until(lambda: len(world.made) == 3)
        await turns()
        assert first.told_at == []
        assert world.pool.state is State.READY
        world.made[2].ready.set()
        await world.until(lambda: world.alive == {second, world.made[2]})
        assert first.told_at == [2]
        assert second.told_at == []
        assert world.pool.failure is None
        assert world.pool.restarts == 1
        assert "failure" not in str(world.said())

    play()


def test_of_several_that_have_their_number_at_once_one_follows_the_other() -> None:
    @scenario(processes=Processes(3))
    async def play(world: World) -> None:
        await serving(world, 3)
        old = list(world.made)
        for one in old:
            world.pool.relieve(one)
        await world.until(lambda: len(world.made) == 4 and len(world.alive) == 3)
        await turns()
        assert len(world.made) == 4  # the clock stands still
        for expected in (5, 6):
            world.now += relief.PAUSE
            # As they say it again: the timer is of the real clock.
            for one in old:
                world.pool.relieve(one)
            await world.until(lambda goal=expected: len(world.made) == goal)
            await world.until(lambda: len(world.alive) == 3)
        assert world.alive == set(world.made[3:])
        assert [one.told_at for one in old] == [[3], [3], [3]]

    play()


@pytest.mark.parametrize("policy", [RestartPolicy(), NOT_ROLLING], ids=["rolling", "one-only"])
def test_one_that_says_it_all_the_time_serves_for_a_while_all_the_same(
    policy: RestartPolicy,
) -> None:
    @scenario(restart=policy)
    async def play(world: World) -> None:
        world.pool.start()
        for _ in range(100):
            await world.until(lambda: world.count(State.READY) == 1 and len(world.alive) == 1)
            world.now += relief.SERVES_AT_LEAST / 20
            for one in list(world.alive):
                for _ in range(10):
                    world.pool.relieve(one)
            await turns()
        assert 3 <= len(world.made) <= 6

    play()


def test_it_need_not_be_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relief, "SERVES_AT_LEAST", 0.02)

    @scenario()
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.pool.relieve(world.made[0])
        await turns()
        assert len(world.made) == 1
        world.now += 1
        await world.until(lambda: len(world.made) == 2 and len(world.alive) == 1)

    play()


def test_of_what_must_be_one_the_first_ends_before_the_next_begins() -> None:
    @scenario(restart=NOT_ROLLING, polite=False)
    async def play(world: World) -> None:
        await serving(world, 1)
        world.pool.relieve(world.made[0])
        await world.reach(State.RESTARTING)
        await turns()
        assert len(world.made) == 1
        world.made[0].end(0)
        await world.reach(State.READY)
        assert len(world.made) == 2
        assert world.pool.failure is None
        assert world.pool.restarts == 1

    play()


def test_without_room_for_a_successor_the_one_before_it_ends_first() -> None:
    @scenario(has_room=lambda: False)
    async def play(world: World) -> None:
        await serving(world, 1)
        world.pool.relieve(world.made[0])
        await world.until(lambda: len(world.made) == 2 and world.count(State.READY) == 1)
        assert world.made[0].told_at == [0]
        assert "no room for another process" in str(world.said())

    play()


def test_where_the_next_one_comes_to_nothing_the_one_before_it_goes_on() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        await serving(world, 2)
        old = set(world.made)
        world.broken = True
        world.pool.relieve(world.made[0])
        await world.until(lambda: len(world.made) == 6 and len(world.pool.services) == 2)
        assert world.alive == old
        failure = world.pool.failure
        assert failure is not None
        assert failure.message.startswith("no process follows the one")
        assert failure.last_output[0] == "words of 1005"
        world.broken = False
        world.now += relief.RETRY - 1
        world.pool.relieve(world.made[0])
        await turns()
        assert len(world.made) == 6
        world.now += 1
        world.pool.relieve(world.made[0])
        await world.until(lambda: len(world.made) == 7 and world.made[0] not in world.alive)
        assert world.alive == {world.made[1], world.made[6]}

    play()


@pytest.mark.parametrize("policy", [RestartPolicy(), NOT_ROLLING], ids=["rolling", "one-only"])
def test_it_is_no_failure_and_forgets_none(policy: RestartPolicy) -> None:
    """Else a process could crash for ever, and say in between that it has done its share."""

    @scenario(restart=policy)
    async def play(world: World) -> None:
        world.pool.start()
        for count in range(1, 4):
            await world.until(lambda: world.count(State.READY) == 1)
            world.made[-1].end(1)
            await world.until(lambda goal=count: len(world.made) == goal + 1)
        for count in (5, 6, 7):  # beyond the number that is a crash loop
            await world.until(lambda: world.count(State.READY) == 1)
            world.now += relief.SERVES_AT_LEAST
            world.pool.relieve(world.made[-1])
            await world.until(lambda goal=count: len(world.made) == goal and len(world.alive) == 1)
        await world.until(lambda: world.count(State.READY) == 1)
        world.made[-1].end(1)
        await world.reach(State.FAILED)

    play()


def test_a_restart_that_is_asked_for_takes_it_in() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        await serving(world, 2)
        world.ready_at_once = False
        world.pool.relieve(world.made[0])
        await world.until(lambda: len(world.made) == 3)
        world.ready_at_once = True
        world.pool.restart()
        await world.until(lambda: world.alive == set(world.made[3:]) and len(world.made) == 5)
        assert world.pool.failure is None

    play()


def test_one_that_does_not_serve_is_not_relieved() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.ready_at_once = False
        world.pool.start()
        await world.reach(State.STARTING)
        world.now += 3600
        world.pool.relieve(world.made[0])
        world.made[0].ready.set()
        await world.reach(State.READY)
        world.now += 3600
        await turns()
        assert len(world.made) == 1
        # Nor is one that is on its way out.
        world.polite = False
        world.ready_at_once = True
        world.pool.restart()
        await world.until(lambda: len(world.made) == 2 and world.made[0].told_at != [])
        world.pool.relieve(world.made[0])
        await turns()
        assert len(world.made) == 2
        world.polite = True

    play()


def test_one_that_dies_meanwhile_is_followed_once() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.pool.relieve(world.made[0])
        world.made[0].end(1)
        await world.until(lambda: len(world.made) == 2 and world.count(State.READY) == 1)
        world.now += 3600
        world.pool.stirred()
        await turns()
        assert len(world.made) == 2

    play()
