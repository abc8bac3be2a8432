"""Several processes as one program: real event loop, made-up processes and load."""

import asyncio
from typing import Any

import pytest
from tests.support.pool_world import World, scenario

from cloister.apps.machine import State
from cloister.model.lifecycle import Processes, RestartPolicy, RestartWhen


def test_a_fixed_number_is_there_and_comes_back() -> None:
    @scenario(processes=Processes(3))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 3)
        assert {one.number for one in world.alive} == {0, 1, 2}
        world.made[1].end(-9)
        await world.until(lambda: len(world.made) == 4)
        await world.until(lambda: world.count(State.READY) == 3)
        assert world.pool.restarts == 1
        assert world.pool.failure is not None
        assert world.pool.failure.last_output == ("words of 1001",)
        world.pool.stop()
        await world.reach(State.STOPPED)

    play()


def test_a_restart_has_the_next_one_ready_before_the_one_before_is_told_to_stop() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        old = list(world.made)
        world.ready_at_once = False
        world.pool.restart()
        await world.until(lambda: len(world.made) == 3)
        assert [one.told_at for one in old] == [[], []]
        assert world.pool.state is State.READY
        world.made[2].ready.set()
        await world.until(lambda: len(world.made) == 4)
        world.made[3].ready.set()
        await world.until(lambda: world.alive == set(world.made[2:]))
        # Whoever was told to stop left two that served.
        assert [one.told_at for one in old] == [[2], [2]]
        assert world.pool.restarts == 2

    play()


def test_without_room_for_a_successor_the_one_before_it_ends_first() -> None:
    room = [True]

    @scenario(processes=Processes(2), has_room=lambda: room[0])
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        old = list(world.made)
        room[0], world.polite = False, False
        world.pool.restart()
        await world.until(lambda: bool(old[0].told_at))
        assert len(world.made) == 2
        # The other one serves on until the first has given back what it had.
        assert old[1].told_at == []
        room[0] = world.polite = True
        old[0].end(0)
        await world.until(lambda: world.alive == set(world.made[2:]) and len(world.made) == 4)
        assert [one.told_at for one in old] == [[1], [2]]
        assert world.pool.failure is None

    play()


def test_where_the_room_goes_during_a_restart_it_is_made_all_the_same() -> None:
    looks = iter([True])  # when it begins, and not when its successor has come to nothing

    @scenario(has_room=lambda: next(looks, False))
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.broken, world.polite = True, False
        world.pool.restart()
        await world.until(lambda: bool(world.made[0].told_at))
        assert len(world.made) > 1
        world.broken = False
        world.made[0].end(0)
        await world.until(lambda: world.count(State.READY) == 1 and world.made[0].ended.done())
        assert world.pool.state is State.READY

    play()


def test_a_restart_that_comes_to_nothing_leaves_what_was() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        world.broken = True
        world.pool.restart()
        await world.until(lambda: len(world.pool.services) == 2 and len(world.made) == 6)
        assert world.alive == set(world.made[:2])
        assert world.pool.state is State.READY
        failure = world.pool.failure
        assert failure is not None
        assert failure.message == "the restart is given up: the processes before it go on"
        assert failure.last_output[0] == "words of 1005"
        # Corrected, it goes through.
        world.broken = False
        world.pool.restart()
        await world.until(lambda: world.alive == set(world.made[6:]) and len(world.made) == 8)

    play()


def test_a_second_restart_while_one_is_under_way_begins_it_anew() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        world.ready_at_once = False
        world.pool.restart()
        await world.until(lambda: len(world.made) == 3)
        world.ready_at_once = True
        world.pool.restart()
        await world.until(lambda: world.alive == set(world.made[3:]) and len(world.made) == 5)
        assert world.pool.failure is None

    play()


def test_of_what_must_be_one_there_are_never_two() -> None:
    @scenario(restart=RestartPolicy(rolling=False), polite=False)
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.pool.restart()
        await world.reach(State.RESTARTING)
        await asyncio.sleep(0.01)
        assert len(world.made) == 1
        world.made[0].end(0)
        await world.reach(State.READY)
        assert len(world.made) == 2

    play()


def test_a_crash_loop_ends_and_a_request_starts_again() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.broken = True
        world.pool.start()
        await world.reach(State.FAILED)
        await world.until(lambda: world.count(State.FAILED) == 2)
        # They count together: as many failures as one would have, and one more for each other.
        assert len(world.made) <= 5
        failure = world.pool.failure
        assert failure is not None
        assert failure.message.startswith("given up after 4 failures")
        assert failure.last_output[0].startswith("words of")
        world.broken = False
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)

    play()


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_policy_of_never_leaves_it_ended_until_somebody_asks(verb: str) -> None:
    @scenario(restart=RestartPolicy(RestartWhen.NEVER))
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.made[0].end(1)
        await world.reach(State.ENDED)
        getattr(world.pool, verb)()
        await world.reach(State.READY)
        assert len(world.made) == 2

    play()


def test_nothing_runs_until_a_connection_comes_and_after_the_last_one() -> None:
    @scenario(idle_stop=60.0, processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        assert world.pool.state is State.DORMANT
        assert not world.made
        world.connect()
        await world.until(lambda: world.count(State.READY) == 2)
        world.taken()
        world.open = 1
        world.now += 3600
        await asyncio.sleep(0.02)
        world.pool.stirred()
        await asyncio.sleep(0.02)
        assert world.pool.state is State.READY  # a connection is open
        world.open = 0
        world.now += 59
        world.pool.stirred()
        await asyncio.sleep(0.02)
        assert world.pool.state is State.READY
        world.now += 2
        await world.until(lambda: world.pool.state is State.DORMANT)
        assert not world.alive
        world.connect()
        await world.reach(State.READY)
        assert world.pool.failure is None

    play()


def test_a_connection_that_comes_while_it_ends_is_served_by_the_next_one() -> None:
    @scenario(idle_stop=60.0, polite=False)
    async def play(world: World) -> None:
        world.pool.start()
        world.connect()
        await world.reach(State.READY)
        world.taken()
        await asyncio.sleep(0.01)
        world.now += 61
        await world.until(lambda: world.count(State.RETIRING) == 1)
        world.connect()
        await world.until(lambda: world.count(State.RESTARTING) == 1)
        world.made[0].end(0)
        await world.reach(State.READY)
        assert len(world.made) == 2

    play()


def test_a_crash_loop_on_demand_ends_too() -> None:
    @scenario(idle_stop=60.0)
    async def play(world: World) -> None:
        world.broken = True
        world.pool.start()
        world.connect()
        await world.reach(State.FAILED)
        assert len(world.made) == 4
        world.broken = False
        world.pool.restart()
        await world.reach(State.READY)

    play()


def test_as_many_as_the_load_asks_for() -> None:
    @scenario(processes=Processes(4, 1, 15.0))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 1)
        world.made[0].requests = 1
        await world.until(lambda: world.count(State.READY) == 2)
        world.made[1].requests = 3
        await world.until(lambda: world.count(State.READY) == 4)
        await asyncio.sleep(0.02)
        assert len(world.made) == 4
        for one in world.made:
            one.requests = 0
        world.pool.stirred()
        await asyncio.sleep(0.02)
        assert world.count(State.READY) == 4
        world.now += 16
        await world.until(lambda: world.count(State.DORMANT) == 3)
        assert world.count(State.READY) == 1

    play()


def test_a_restart_of_what_rests_makes_nothing() -> None:
    @scenario(processes=Processes(4, 1, 15.0))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 1)
        world.pool.restart()
        await world.until(lambda: world.alive == {world.made[-1]} and len(world.made) == 2)
        assert world.made[0].told_at == [1]

    play()


def test_a_stop_during_a_restart_ends_both() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.ready_at_once = False
        world.pool.restart()
        await world.until(lambda: len(world.made) == 2)
        world.pool.stop()
        await world.reach(State.STOPPED)
        assert not world.alive

    play()


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize(
    "options",
    [
        {"processes": Processes(3)},
        {"processes": Processes(3, 1, 0.5)},
        {"idle_stop": 0.5, "processes": Processes(2)},
        {"idle_stop": 0.5, "processes": Processes(3, 1, 0.2)},
        {"restart": RestartPolicy(RestartWhen.ON_FAILURE, rolling=False)},
    ],
    ids=["fixed", "spare", "idle-stop", "both", "not-rolling"],
)
def test_any_order_of_requests_accidents_and_load(seed: int, options: dict[str, Any]) -> None:
    """No two processes have one number (``launch`` asserts it), nothing is left over, and
    no event comes where the table forbids it (it would be an internal fault)."""
    import random  # noqa: PLC0415 - of this test alone

    chance = random.Random(seed)

    @scenario(**options)
    async def play(world: World) -> None:
        pool = world.pool
        for _ in range(120):
            match chance.randrange(8):
                case 0 | 1:
                    chance.choice((pool.start, pool.stop, pool.restart, pool.force, pool.start))()
                case 2:
                    for process in list(world.alive):
                        if chance.random() < 0.5:
                            process.end(chance.choice((0, 1, -9)))
                        elif chance.random() < 0.5:
                            pool.relieve(process)
                case 3:
                    world.ready_at_once = chance.random() < 0.7
                    world.polite = chance.random() < 0.7
                    world.broken = chance.random() < 0.2
                case 4:
                    world.now += chance.random()
                    chance.choice((world.connect, world.taken))()
                    for process in world.alive:
                        process.requests = chance.choice((0, 0, 1, 2))
                case _:
                    pool.stirred()
                    await asyncio.sleep(chance.choice((0, 0, 0.001, 0.003)))
        # Whatever was, it serves again when it is asked to and somebody comes.
        world.ready_at_once, world.polite, world.broken = True, True, False
        for process in list(world.alive):
            process.end(1)
        pool.restart()
        world.connect()
        await world.reach(State.READY)

    play()
