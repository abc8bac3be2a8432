"""The soak, for a few seconds: that it runs, and that it would find a fault."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.keyed import Conversation, Outcome, Result, converse, serve

ROOT = Path(__file__).parents[2]
LENGTH = 100_000


@pytest.mark.usefixtures("as_root")
def test_a_short_soak_finds_no_fault() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak"],
        cwd=ROOT,
        env={**os.environ, "SOAK_SECONDS": "15", "SOAK_CLIENTS": "12"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "soak: 0 faults" in done.stdout


def through_a_bad_relay(change: str) -> Result:
    """A conversation through a relay that does ``change`` to what the target sends."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_target, at_target = socket.socketpair()
        serving = asyncio.ensure_future(serve(*await asyncio.open_connection(sock=at_target)))
        from_target, into_target = await asyncio.open_connection(sock=to_target)

        async def up() -> None:
            while data := await reader.read(1 << 16):
                into_target.write(data)
            into_target.write_eof()

        sending = asyncio.ensure_future(up())
        data = await from_target.read(-1)
        writer.write(broken(data, change))
        writer.close()
        into_target.close()
        await asyncio.gather(serving, sending)

    async def main() -> Result:
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        async with server:
            return await converse(
                lambda: asyncio.ensure_future(asyncio.open_connection(*address)),
                Conversation(7, 10, LENGTH),
            )

    return asyncio.run(main())


def broken(data: bytes, change: str) -> bytes:
    half = LENGTH // 2
    return {
        "nothing": data,
        "flip": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
        "lose": data[:half] + data[half + 1 :],
        "repeat": data[:half] + data[half - 1 :],
        "swap": data[half : 2 * half] + data[:half] + data[2 * half :],
        "add": data + b"x",
        "cut": data[:half],
        "cut the verdict": data[: LENGTH + 3],
    }[change]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ("nothing", Outcome.COMPLETE),
        ("flip", Outcome.WRONG),
        ("lose", Outcome.WRONG),
        ("repeat", Outcome.WRONG),
        ("swap", Outcome.WRONG),
        ("add", Outcome.WRONG),
        ("cut", Outcome.CUT),
        ("cut the verdict", Outcome.CUT),
    ],
)
def test_whatever_a_relay_does_to_a_stream_is_seen(change: str, outcome: Outcome) -> None:
    assert through_a_bad_relay(change).outcome is outcome
