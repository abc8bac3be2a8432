"""Checking configurations in processes of their own, with their real parser."""

import asyncio
import os
import pickle
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import psutil
import pytest
from tests.support.waiting import wait_until

from cloister.config import apart
from cloister.config.apart import Checker
from cloister.model.errors import CloisterError, ConfigError

TEXT = '[listeners.a]\nlisten = "127.0.0.1:0"\nroute = { target = "unix:/x" }\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cloister.toml"
    path.write_text(TEXT)
    return path


def run(
    scenario: Callable[[Checker], Awaitable[None]], pressure: str = "/none", kept: float = 60.0
) -> None:
    """With a checker, of which nothing is left afterwards."""

    async def complete() -> None:
        checker = Checker(pressure, kept)
        try:
            await scenario(checker)
        finally:
            await checker.close()
            await checker.close()

    asyncio.run(complete())
    wait_until(
        lambda: not apart_processes(all_of_them=True), what="the end of all of them", seconds=30
    )


def apart_processes(*, all_of_them: bool = False) -> list[psutil.Process]:
    """Those that are kept, or those that they have forked as well."""
    found = []
    for one in psutil.Process().children(recursive=all_of_them):
        try:
            if "cloister.config.apart" in one.cmdline():
                found.append(one)
        except psutil.NoSuchProcess:
            continue
    return found


def memory_is_watched() -> bool:
    """Whether the kernel tells this user that memory is short."""
    descriptor = apart._watch_memory(apart.PRESSURE)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def test_one_process_for_several_questions(file: Path) -> None:
    async def scenario(checker: Checker) -> None:
        configuration = await checker.read(str(file))
        (kept,) = apart_processes()
        for _ in range(3):
            snapshot = await checker.check(configuration)
            assert [listener.name for listener in snapshot.listeners] == ["a"]
        assert kept in apart_processes()

    run(scenario)


def test_it_is_small(file: Path) -> None:
    async def scenario(checker: Checker) -> None:
        configuration = await checker.read(str(file))
        for _ in range(5):
            await checker.check(configuration)

        def waiting() -> bool:
            # The one that answered has ended, the next one has done what it does in advance.
            states = [one.status() for one in apart_processes(all_of_them=True)]
            return states == [psutil.STATUS_SLEEPING] * 2

        await asyncio.to_thread(partial(wait_until, waiting, what="rest", seconds=60))
        both = apart_processes(all_of_them=True)
        assert sum(one.memory_full_info().pss for one in both) <= 64 * 1024 * 1024

    run(scenario)


def test_it_ends_when_nobody_asks_where_the_kernel_does_not_tell(file: Path) -> None:
    async def scenario(checker: Checker) -> None:
        await checker.read(str(file))
        ended = partial(wait_until, lambda: not apart_processes(), what="its end", seconds=60)
        await asyncio.to_thread(ended)
        await checker.read(str(file))

    run(scenario, kept=0.2)


def test_problems_come_back(file: Path) -> None:
    async def scenario(checker: Checker) -> None:
        configuration = await checker.read(str(file))
        with pytest.raises(ConfigError):
            await checker.read(str(file.with_name("none.toml")))
        wrong = replace(configuration, text="listeners = 1")
        with pytest.raises(ConfigError) as caught:
            await checker.check(wrong)
        assert caught.value.problems

    run(scenario)


def test_one_that_was_killed_is_followed_by_another(file: Path) -> None:
    async def scenario(checker: Checker) -> None:
        await checker.read(str(file))
        (kept,) = apart_processes()
        kept.kill()
        assert (await checker.read(str(file))).text == TEXT

    run(scenario)


def test_a_check_that_dies_is_told(file: Path) -> None:
    async def scenario(checker: Checker) -> None:
        await checker.read(str(file))
        # What cannot be read ends the process that tries.
        with (
            mock.patch.object(pickle, "dumps", return_value=b"no pickle"),
            pytest.raises(CloisterError, match="could not be checked") as caught,
        ):
            await checker.read(str(file))
        assert "Error" in str(caught.value.why)
        assert (await checker.read(str(file))).text == TEXT

    run(scenario)


def test_one_that_takes_too_long_is_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    async def scenario(checker: Checker) -> None:
        await checker.read(str(file))
        (kept,) = apart_processes()
        os.killpg(kept.pid, signal.SIGSTOP)  # with the one that stands by
        monkeypatch.setattr(apart, "PATIENCE", 0.5)
        with pytest.raises(CloisterError, match=r"within 0\.5 s"):
            await checker.read(str(file))
        assert not psutil.pid_exists(kept.pid) or kept.status() == psutil.STATUS_ZOMBIE

    run(scenario)
