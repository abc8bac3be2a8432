"""Launching cells: a small program in the place of ``cloister-cell`` that can misbehave."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from cloister.cells.launch import CellProcess
from cloister.cells.plan import CellPlan, build_cell
from cloister.cells.spec import Fence
from cloister.model.app import App, CommandProgram, Credential
from cloister.model.errors import CellError
from cloister.model.isolation import HostIdentity

FAKE = """\
#!{python} -S
import json, os, signal, sys, time
arguments = sys.argv[1:]
assert arguments[0] == "run"
spec_descriptor = int(arguments[arguments.index("--spec-fd") + 1])
status = int(arguments[arguments.index("--status-fd") + 1])
spec = json.loads(os.read(spec_descriptor, 1 << 20))
def fail(report):
    os.write(status, report if isinstance(report, bytes) else json.dumps(report).encode())
    os.close(status)
EFFECT = b'{"fences":[{"name":"keyring","active":true,"detail":"of its own"}]}\\n'
def ready():
    fail(EFFECT)
{body}
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def make(body: str) -> str:
        path = tmp_path / "cell"
        path.write_text(FAKE.replace("{python}", sys.executable).replace("{body}", body))
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def plan(tmp_path: Path) -> CellPlan:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    app = App("blog", CommandProgram(("/bin/true",)), "/usr")
    return build_cell(
        app, HostIdentity(500001, 500001), None, credentials=(Credential("a", str(secret)),)
    )


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test, in which one plan is used up; no descriptor and no child may be left."""

    async def bounded() -> None:
        await asyncio.wait_for(test(), 30)

    children = set(psutil.Process().children())
    before = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(bounded())
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 1  # the plan's credential
    assert set(psutil.Process().children()) <= children


def test_an_application_runs_and_ends(program: Callable[[str], str], plan: CellPlan) -> None:
    async def scenario() -> None:
        body = (
            "secret = spec['filesystem']['files'][-1]['content']['descriptor']\n"
            "print(spec['name'], os.read(secret, 9).decode(), flush=True)\n"
            "ready()\nsys.exit(5)"
        )
        cell = await CellProcess.start(
            plan, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, program=program(body)
        )
        assert cell.stdout is not None
        assert await cell.stdout.read() == b"blog hunter2\n"
        assert await cell.wait() == 5
        assert cell.returncode == 5
        assert cell.fences == (Fence("keyring", active=True, detail="of its own"),)
        cell.signal(signal.SIGTERM)

    run(scenario)


def test_signals_and_death_by_one(program: Callable[[str], str], plan: CellPlan) -> None:
    async def scenario() -> None:
        body = "signal.signal(signal.SIGTERM, signal.SIG_DFL); ready(); signal.pause()"
        cell = await CellProcess.start(plan, stdin=DEVNULL, program=program(body))
        assert psutil.pid_exists(cell.pid)
        cell.signal(signal.SIGTERM)
        assert await cell.wait() == -signal.SIGTERM

    run(scenario)


def test_a_failure_becomes_an_error_with_its_step(
    program: Callable[[str], str], plan: CellPlan
) -> None:
    async def scenario() -> None:
        failure = {
            "step": "mount-bind",
            "description": "bind /srv/blog",
            "errno": 2,
            "path": "/srv/blog",
            "hint": "make it",
        }
        with pytest.raises(CellError, match="the cell of blog could not be made") as caught:
            await CellProcess.start(plan, program=program(f"fail({failure!r}); sys.exit(1)"))
        error = caught.value
        assert (error.step, error.errno, error.path) == ("mount-bind", 2, "/srv/blog")
        assert error.why == "/srv/blog: No such file or directory (ENOENT)"
        assert error.hint == "make it"

    run(scenario)


def test_a_failure_after_the_fences_are_up(program: Callable[[str], str], plan: CellPlan) -> None:
    async def scenario() -> None:
        failure = {"step": "execute", "description": "x", "errno": 2, "path": None, "hint": None}
        body = f"os.write(status, EFFECT); fail({failure!r}); sys.exit(1)"
        with pytest.raises(CellError, match="could not be made") as caught:
            await CellProcess.start(plan, program=program(body))
        assert (caught.value.step, caught.value.errno) == ("execute", 2)

    run(scenario)


@pytest.mark.parametrize("report", [b"nonsense", b"{}", b'{"fences":1}\n', b"", b"x" * 200_000])
def test_a_report_that_cannot_be_read(
    program: Callable[[str], str], plan: CellPlan, report: bytes
) -> None:
    async def scenario() -> None:
        body = (
            f"fail(bytes({list(report[:1])!r}) * {len(report)})"
            if len(report) > 100
            else (f"fail({report!r})")
        )
        with pytest.raises(CellError, match="report cannot be read") as caught:
            await CellProcess.start(plan, program=program(body))
        assert caught.value.step == "report"

    run(scenario)


def test_a_cell_that_never_gets_ready_is_ended(
    program: Callable[[str], str], plan: CellPlan
) -> None:
    async def scenario() -> None:
        with pytest.raises(CellError, match=r"not ready after 0\.3 s") as caught:
            await CellProcess.start(plan, program=program("signal.pause()"), start_timeout=0.3)
        assert caught.value.step == "start"

    run(scenario)


def test_cancelling_a_start_leaves_nothing(program: Callable[[str], str], plan: CellPlan) -> None:
    async def scenario() -> None:
        starting = asyncio.create_task(CellProcess.start(plan, program=program("signal.pause()")))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await starting

    run(scenario)


def test_a_program_that_cannot_be_started_leaves_nothing(plan: CellPlan) -> None:
    async def scenario() -> None:
        with pytest.raises(FileNotFoundError):
            await CellProcess.start(plan, program="/no/such/cloister-cell")

    run(scenario)


def test_the_specification_arrives_whole(program: Callable[[str], str], plan: CellPlan) -> None:
    async def scenario() -> None:
        cell = await CellProcess.start(
            plan,
            stdout=PIPE,
            program=program("print(json.dumps(spec)); sys.stdout.flush(); ready()"),
        )
        assert cell.stdout is not None
        spec = json.loads(await cell.stdout.read())
        assert spec["identity"]["host_uid"] == 500001
        await cell.wait()

    run(scenario)
