"""What is kept for a next supervisor, by a real holder."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from tests.support.up import have_ended, open_folder
from tests.support.waiting import wait_until

from cloister.apps.holder import Entry, Holder, close
from cloister.cells.programs import find

ANOTHER = """
import asyncio, os, signal, sys
from cloister.apps.holder import Holder

async def main(path, writing):
    lost = asyncio.Event()
    holder = Holder(path, lambda _: lost.set())
    assert await holder.begin() == {}
    first = holder._process.pid
{steps}
    print(first, holder._process.pid, flush=True)
    os._exit(0)  # as if it was killed

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
STORE = """
    holder.store("a", "one", [writing])
    holder.store("b", "two", [])
    holder.store("c", "three", [writing])
    holder.amend("a", "ONE")
    holder.amend("never there", "")
    holder.forget("c")
    holder.forget("never there")
    holder._list()  # once it answers it has blocked its signals
"""
LOSE = """
    holder.store("a", "one", [writing])
    os.kill(first, signal.SIGKILL)
    await lost.wait()
    holder.store("b", "two", [])  # the next one is not there yet
    await holder._starting
"""


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test and sees that no descriptor is left."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(asyncio.wait_for(test(), 60))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def another_supervisor(path: str, writing: int, steps: str) -> list[psutil.Process]:
    """One that does these steps and dies; its first and its last holder."""
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER.replace("{steps}", steps), path, str(writing)],
        pass_fds=(writing,),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    first, last = map(int, done.stdout.split())
    return [psutil.Process(one) for one in (first, last) if psutil.pid_exists(one)]


@pytest.mark.parametrize(
    ("steps", "records"),
    [(STORE, {"a": "ONE", "b": "two"}), (LOSE, {"a": "one", "b": "two"})],
    ids=["stored", "stored again after the holder's death"],
)
def test_what_is_stored_comes_back_to_the_next_supervisor(
    tmp_path: Path, steps: str, records: dict[str, str]
) -> None:
    path = tmp_path / "holder.sock"

    async def scenario() -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        family = another_supervisor(str(path), writing, steps)
        os.close(writing)
        holder = Holder(str(path))
        found = await holder.begin()
        assert {name: entry.record for name, entry in found.items()} == records
        (copy,) = found["a"].descriptors
        assert not os.get_inheritable(copy)
        os.write(copy, b"x")
        assert os.read(reading, 1) == b"x"
        for entry in found.values():
            close(entry)
        await holder.end()
        assert os.read(reading, 1) == b""  # nobody has it any more
        os.close(reading)
        wait_until(lambda: have_ended(family), what="its end")

    run(scenario)
    assert not path.exists()


def test_what_is_meant_for_everybody_does_not_end_it(tmp_path: Path) -> None:
    path = str(tmp_path / "holder.sock")

    async def scenario() -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        *_, process = another_supervisor(path, writing, STORE.replace("[writing]", "[]"))
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(signum)
        os.close(reading)
        os.close(writing)
        holder = Holder(path)
        assert await holder.begin() == {"a": Entry("ONE", ()), "b": Entry("two", ())}
        assert not have_ended([process])
        await holder.end()

    run(scenario)


def test_what_is_no_order_loses_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "holder.sock")

    async def scenario() -> None:
        holder = Holder(path)
        await holder.begin()
        with pytest.raises(ValueError, match="too many"):
            holder.store("a", "", list(range(65)))
        holder.store("a", "one", [])
        await holder.end()

    run(scenario)


ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
    line.settimeout(30)
    line.connect(sys.argv[1])
    try:
        line.send(b'{"type":"list"}')
        print(line.recv(4096).decode())
    except ConnectionError:
        print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_holder_of_an_ordinary_user_obeys_that_user_and_root() -> None:
    with open_folder() as folder:
        program = folder / "cloister-door"
        shutil.copy(find("cloister-door"), program)
        path = folder / "holder.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(str(path))
            path.chmod(0o666)
            listening.listen(8)
            command = [program, "hold", "--socket-fd", str(listening.fileno())]
            holder = subprocess.Popen(
                command, pass_fds=(listening.fileno(),), user=54321, group=54321
            )
        try:
            for user, answer in ((54321, '"listed"'), (0, '"listed"'), (54322, "")):
                asked = subprocess.run(
                    ["/usr/bin/python3", "-IS", "-c", ASK, path],
                    user=user,
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert answer in asked.stdout
                assert ("listed" in asked.stdout) == bool(answer)
        finally:
            holder.kill()
            holder.wait(10)
