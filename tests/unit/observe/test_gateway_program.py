"""The gateway as a program: what it was told is what is configured, whenever that changes."""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloister.apps.logs import LogEvent
from cloister.config.load import load
from cloister.model.isolation import HostIdentity
from cloister.model.snapshot import Snapshot
from cloister.observe.gateway_program import MetricsGateway

DOOR = HostIdentity(65534, 65534)
APP = '[apps.{name}]\ncommand = ["/bin/true"]\nhosts = ["{name}.example"]\nmetrics = "/metrics"\n'


class Silence:
    """A sink."""

    def emit(self, event: LogEvent) -> None:
        pass


def snapshot(folder: Path, *names: str) -> Snapshot:
    path = folder / "cloister.toml"
    path.write_text(
        f'[cloister]\nruntime-directory = "{folder}/run"\nstate-directory = "{folder}/state"\n'
        f'[listeners.a]\nlisten = "unix:{folder}/a.sock"\n[metrics]\nlisten = "unix:{folder}/m"\n'
        + "".join(APP.format(name=name) for name in names)
    )
    return load(str(path), check_files=False)


async def offered(folder: Path) -> set[str]:
    """The applications that it offers."""
    transport = httpx.AsyncHTTPTransport(uds=str(folder / "m"))
    async with httpx.AsyncClient(transport=transport, timeout=30) as client:
        found = (await client.get("http://x/sd")).json()
    return {one["labels"]["app"] for one in found if "app" in one["labels"]}


async def own_metrics() -> str:
    return "# TYPE up gauge\nup 1\n"


def test_a_change_while_it_is_being_started_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, after = snapshot(tmp_path, "one"), snapshot(tmp_path, "one", "two")
    start = asyncio.create_subprocess_exec
    gateways: list[MetricsGateway] = []
    started = 0

    def start_and_change(*arguments: Any, **options: Any) -> Awaitable[asyncio.subprocess.Process]:
        nonlocal started
        started += 1
        if started == 1:
            gateways[0].adopt(after)
        return start(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_and_change)

    async def live() -> set[str]:
        gateway = MetricsGateway(before, lambda: None, DOOR, own_metrics, Silence())
        gateways.append(gateway)
        gateway.start()
        try:
            async with asyncio.timeout(60):
                while started < 2:
                    with contextlib.suppress(httpx.TransportError):  # the first one is ended
                        await offered(tmp_path)
                return await offered(tmp_path)
        finally:
            await gateway.stop()

    assert asyncio.run(live()) == {"one", "two"}
