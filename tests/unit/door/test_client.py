"""The door's driver against a small door that can be told to misbehave."""

import asyncio
import os
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from cloister.door.client import DoorLaunch, DoorProcess
from cloister.door.messages import Protection, Snapshot
from cloister.model.errors import DoorError
from cloister.model.isolation import HostIdentity

EMPTY = Snapshot(1, 1, False, (), ())

FAKE = """\
#!{python} -S
import array, json, os, signal, socket, sys
arguments = sys.argv[1:]
print("arguments " + " ".join(arguments), file=sys.stderr, flush=True)
control = socket.socket(fileno=int(arguments[arguments.index("--control-fd") + 1]))
pending = []
def say(**message):
    control.send(json.dumps(message).encode())
def ready(protocol=4):
    say(type="ready", protocol=protocol, version="0", confinement=[
        dict(name="user", active=True, detail="as asked")])
def take():
    packet, ancillary, flags, _ = control.recvmsg(65536, socket.CMSG_SPACE(4 * 253))
    if not packet:
        sys.exit(0)
    assert not flags & socket.MSG_CTRUNC
    for _, _, data in ancillary:
        received = array.array("i")
        received.frombytes(data)
        pending.extend(received)
    return json.loads(packet)
def snapshot(request):
    number = os.dup(pending[request["snapshot"]])
    try:
        os.write(number, b"x")
        sealed = False
    except OSError:
        sealed = True
    content = json.loads(os.read(number, 1 << 24))
    print(json.dumps(dict(count=len(pending), sealed=sealed, content=content)), flush=True)
    while pending:
        os.close(pending.pop())
    return content
{body}
"""

OBEY = """\
ready()
while True:
    request = take()
    kind = request["type"]
    if kind == "descriptors":
        say(type="received", id=request["id"])
    elif kind == "apply":
        content = snapshot(request)
        if content["generation"] == 13:
            say(type="refused", id=request["id"], reason="thirteen brings bad luck")
        else:
            say(type="applied", id=request["id"], generation=content["generation"])
    elif kind == "stats":
        say(type="stats", id=request["id"], stats=dict(
            generation=1, workers=1, accepted=5, active=2, bytes_to_target=0,
            bytes_to_client=0, log_lines_lost=0, accept_pauses=0, outcomes={"complete": 3},
            **{name: dict(bounds_us=[], counts=[], sum_us=0)
               for name in ("hello", "connect", "answer")},
            listeners=[], apps=[]))
    elif kind == "drain":
        say(type="draining", id=request["id"], active=request["deadline_ms"])
        sys.exit(7)
"""


@pytest.fixture
def door(tmp_path: Path) -> Callable[..., DoorLaunch]:
    def make(body: str, **options: object) -> DoorLaunch:
        program = tmp_path / "door"
        text = FAKE.replace("{python}", sys.executable).replace("{body}", textwrap.dedent(body))
        program.write_text(text)
        program.chmod(0o755)
        return DoorLaunch(str(program), **options)  # type: ignore[arg-type]

    return make


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test and sees that no descriptor and no child is left."""

    async def settled() -> None:
        await asyncio.wait_for(test(), 30)

    children = set(psutil.Process().children())
    before = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(settled())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert set(psutil.Process().children()) <= children


def test_a_door_from_start_to_drain(door: Callable[..., DoorLaunch]) -> None:
    async def scenario() -> None:
        process = await DoorProcess.start(door(OBEY, identity=HostIdentity(500000, 500001)))
        assert process.protections == (Protection("user", True, "as asked"),)
        assert os.getpgid(process.pid) > 0
        line = (await process.messages.readline()).decode()
        assert line.split()[1] == "serve"
        # It outlives a supervisor that is killed, as long as its control socket is kept.
        assert "--die-with-parent" not in line
        assert "--user 500000:500001" in line
        await process.apply(EMPTY, [])
        assert b'"count": 1, "sealed": true' in await process.records.readline()
        assert (await process.stats()).outcomes == {"complete": 3}
        assert await process.drain(2.5) == 2500
        assert await process.wait() == 7
        assert process.returncode == 7
        process.kill()
        assert await process.records.read() == b""
        assert await process.messages.read() == b""

    run(scenario)


@pytest.mark.parametrize("count", [252, 253, 600])
def test_many_descriptors_travel_in_batches(door: Callable[..., DoorLaunch], count: int) -> None:
    async def scenario() -> None:
        process = await DoorProcess.start(door(OBEY))
        null = os.open("/dev/null", os.O_RDONLY)
        await process.apply(EMPTY, [null] * count)
        assert f'"count": {count + 1},'.encode() in await process.records.readline()
        os.close(null)
        await process.close()

    run(scenario)


def test_a_refusal_says_why_and_the_door_goes_on(door: Callable[..., DoorLaunch]) -> None:
    async def scenario() -> None:
        process = await DoorProcess.start(door(OBEY))
        with pytest.raises(DoorError, match="refused Apply") as caught:
            await process.apply(Snapshot(13, 1, False, (), ()), [])
        assert caught.value.why == "thirteen brings bad luck"
        await process.apply(EMPTY, [])
        await process.close()

    run(scenario)


def test_requests_at_once_get_their_own_replies(door: Callable[..., DoorLaunch]) -> None:
    async def scenario() -> None:
        process = await DoorProcess.start(door(OBEY))
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(process.stats())
                group.create_task(process.apply(EMPTY, [0] * 300))
        await process.close()

    run(scenario)


@pytest.mark.parametrize(
    ("body", "what", "why"),
    [
        ("print('no luck', file=sys.stderr); sys.exit(3)", "has ended", "status 3"),
        ("print('no luck', file=sys.stderr); sys.exit(3)", "has ended", "no luck"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "has ended", "signal 9"),
        ("ready(1); take()", "speaks protocol 1", "speaks protocol 4"),
        ("control.send(b'hello'); take()", "cannot be read", None),
        ("control.close(); signal.pause()", "has ended", None),
        ("signal.pause()", "not ready after 1 s", None),
    ],
)
def test_a_door_that_does_not_start(
    door: Callable[..., DoorLaunch], body: str, what: str, why: str | None
) -> None:
    async def scenario() -> None:
        with pytest.raises(DoorError, match=what) as caught:
            await DoorProcess.start(door(body, start_timeout=1.0))
        assert why is None or why in str(caught.value.why)

    run(scenario)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("ready(); take(); sys.exit(1)", "has ended"),
        ("ready(); take(); signal.pause()", "did not answer Stats within 0.5 s"),
        ("ready(); say(type='received', id=take()['id']); take()", "answered Stats with Received"),
        ("ready(); take(); say(type='refused', id=0, reason='x'); take()", "could not read"),
        ("ready(); take(); control.send(b'{}'); take()", "cannot be read"),
    ],
)
def test_a_door_that_breaks_the_protocol(
    door: Callable[..., DoorLaunch], body: str, what: str
) -> None:
    async def scenario() -> None:
        process = await DoorProcess.start(door(body, reply_timeout=0.5))
        with pytest.raises(DoorError, match=what):
            await process.stats()
        await process.close()

    run(scenario)


def test_a_door_killed_between_requests(door: Callable[..., DoorLaunch]) -> None:
    async def scenario() -> None:
        process = await DoorProcess.start(door(OBEY))
        process.kill()
        assert await process.wait() == -9
        with pytest.raises(DoorError):
            await process.stats()

    run(scenario)


def test_after_an_interrupted_change_only_a_new_door_helps(
    door: Callable[..., DoorLaunch],
) -> None:
    async def scenario() -> None:
        process = await DoorProcess.start(door("ready(); take(); take(); signal.pause()"))
        applying = asyncio.create_task(process.apply(EMPTY, [0] * 300))
        await asyncio.sleep(0)
        applying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await applying
        with pytest.raises(DoorError, match="cannot take a snapshot any more"):
            await process.apply(EMPTY, [])
        await process.close()

    run(scenario)


def test_cancelling_a_start_leaves_nothing(door: Callable[..., DoorLaunch]) -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await DoorProcess.start(door("signal.pause()"))

    run(scenario)


def test_a_missing_program_says_so() -> None:
    async def scenario() -> None:
        with pytest.raises(DoorError, match="cannot be started"):
            await DoorProcess.start(DoorLaunch("/no/such/cloister-door"))

    run(scenario)
