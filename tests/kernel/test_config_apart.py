"""The process that checks configurations gives its memory back when the kernel says so."""

import asyncio
import contextlib
from pathlib import Path

import psutil
import pytest
from tests.support.limited import MEGABYTE, cell, control_groups
from tests.unit.config.test_apart import apart_processes, memory_is_watched

from cloister.config.apart import Checker
from cloister.model.errors import CloisterError
from cloister.model.limits import Limits

pytestmark = pytest.mark.usefixtures("root")

READER = """
while True:
    with open("/data/large", "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
"""


@pytest.mark.skipif(
    not memory_is_watched(), reason="the kernel does not tell that memory is short (CONFIG_PSI)"
)
def test_it_ends_when_somebody_waits_for_memory(open_folder: Path) -> None:
    file = open_folder / "cloister.toml"
    file.write_text("")
    with (open_folder / "large").open("wb") as made:
        made.truncate(256 * MEGABYTE)

    async def scenario() -> None:
        checker = Checker()
        with control_groups() as groups:
            try:
                group = groups.application("reader", Limits(memory=32 * MEGABYTE))
            except CloisterError as error:
                pytest.skip(f"memory cannot be limited here: {error.why}")
            try:
                await checker.read(str(file))
                (kept,) = apart_processes()
                async with contextlib.AsyncExitStack() as stack, asyncio.timeout(60):
                    for _ in range(2):
                        await stack.enter_async_context(cell(group, READER, data=str(open_folder)))
                    await asyncio.to_thread(psutil.wait_procs, [kept], timeout=60)
                assert kept not in apart_processes()
                assert (await checker.read(str(file))).text == ""
            finally:
                await checker.close()

    asyncio.run(scenario())
