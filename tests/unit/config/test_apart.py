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
    scenario: Callable[[Checker], Awaitable[None]],
    *,
    kept: float = 60.0,
    largest: int = apart.LARGEST,
) -> None:
    """With a checker, of which nothing is left afterwards."""

    async def complete() -> None:
        checker = Checker("/none", kept, largest)
        try:
            await scenario(checker)
        finally:
            await checker.close()
            await checker.close()

    asyncio.run(complete())
    assert not apart_processes()


def apart_processes() -> list[psutil.Process]:
    """Those that are kept."""
    found = []
    for one in psutil.Process().children():
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
        for _ in range(20):
            await checker.check(configuration)
        (kept,) = apart_processes()
        assert kept.memory_info().rss <= 56 * 1024 * 1024

    run(scenario)


def test_it_is_kept_also_where_a_large_process_asks(file: Path) -> None:
    large = b"x" * apart.LARGEST

    async def scenario(checker: Checker) -> None:
        await checker.read(str(file))
        (kept,) = apart_processes()
        await checker.read(str(file))
        assert apart_processes() == [kept]

    run(scenario)
    assert large


def test_one_that_became_large_ends_with_its_answer(file: Path) -> None:
    async def scenario(checker: Checker) -> None:
        configuration = await checker.read(str(file))
        ended = partial(wait_until, lambda: not apart_processes(), what="its end", seconds=60)
        await asyncio.to_thread(ended)
        assert await checker.check(configuration)

    run(scenario, largest=1)


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
        os.kill(kept.pid, signal.SIGSTOP)
        monkeypatch.setattr(apart, "PATIENCE", 0.5)
        with pytest.raises(CloisterError, match=r"within 0\.5 s"):
            await checker.read(str(file))
        assert not psutil.pid_exists(kept.pid) or kept.status() == psutil.STATUS_ZOMBIE

    run(scenario)
