"""Many applications are started, restarted and stopped: nothing of them is left, and what
stays has not grown."""

import contextlib
import gc
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

from cloister.cells.cgroups.groups import control_groups
from cloister.control.client import ControlClient
from cloister.model.errors import DaemonUnreachableError
from cloister.model.snapshot import Paths

SERVER = """
import select, socket
listening = socket.socket(fileno=3)
while True:
    select.select([listening], [], [])
    try:
        client, _ = listening.accept()
    except BlockingIOError:
        continue
    client.setblocking(True)
    client.recv(1)
    client.close()
"""
"""Closes when its client does: whoever closes at once can be told from no other process on the
same socket, and so is never known to serve in the place of another one."""
LOOK = 0.02
"""Seconds for each application between two looks at a status, which are work, too."""
ASKING = 3
"""Descriptors for control connections; one that leaked would be there once for each application
and round."""
FEW_DESCRIPTORS = 64
"""The soft limit that the supervisor is started with: fewer than it needs, as a shell's 1024
are fewer than hundreds of applications need."""
GROWTH = 12 * 1024 * 1024
"""Bytes that the supervisor may have grown from the second round to the last."""


@pytest.fixture
def up() -> Iterator[Up]:
    if os.geteuid() != 0:
        pytest.skip("needs root: each application has a user of its own")
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


def many(up: Up, count: int) -> list[str]:
    """A configuration with so many small applications."""
    (up.folder / "server.py").write_text(SERVER)
    names = [f"app-{number}" for number in range(count)]
    blocks = [
        f'[apps.{name}]\ncommand = ["/usr/bin/python3", "-I", "-S", "{up.folder}/server.py"]\n'
        f'binds = [{{ source = "{up.folder}/server.py" }}]\n'
        f'hosts = ["{name}.example"]\nready-timeout = "10m"\nstop-timeout = "1m"'
        for name in names
    ]
    up.write({}, "\n\n".join(blocks) + "\n")
    return names


class Holdings:
    """What the machine holds of a supervisor."""

    def __init__(self, up: Up) -> None:
        assert up.process is not None
        self._process = psutil.Process(up.process.pid)
        self._groups = control_groups(Paths(str(up.runtime), str(up.state)))

    def groups(self) -> int:
        """Folders of control groups, everywhere."""
        return sum(
            len([path for path in Path(site.folder, self._groups.name).rglob("*") if path.is_dir()])
            for site in self._groups.sites
        )

    def descriptors(self) -> int:
        return self._process.num_fds()

    def processes(self) -> int:
        return len(self._process.children(recursive=True))

    def memory(self) -> int:
        return self._process.memory_info().rss


def mounts(up: Up) -> list[str]:
    """Those of the machine that concern this supervisor: a cell's are its own, and end with it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(up.folder) in line]


def processes(up: Up) -> dict[str, int | None]:
    """The one process of each application that is ready and has no other one, by its name."""
    try:
        apps = up.status().apps
    except DaemonUnreachableError:
        return {}  # it makes hundreds of cells on a busy machine, and answers later
    return {app.name: app.pid for app in apps if app.state == "ready" and len(app.processes) == 1}


def wait_ready(up: Up, names: list[str], before: dict[str, int | None]) -> dict[str, int | None]:
    """The processes of all, once none of them is one of ``before``."""

    def there() -> dict[str, int | None] | None:
        now = processes(up)
        fresh = all(before.get(name) != pid for name, pid in now.items())
        return now if set(now) == set(names) and fresh else None

    found = wait_until(
        there, what="another process of each", seconds=600, interval=LOOK * len(names)
    )
    assert found is not None
    return found


def wait_stopped(up: Up, names: list[str]) -> None:
    def there() -> bool:
        try:
            return all(app.state == "stopped" for app in up.status().apps)
        except DaemonUnreachableError:
            return False

    wait_until(there, what="the end of all", seconds=600, interval=LOOK * len(names))


@contextlib.contextmanager
def few_descriptors() -> Iterator[None]:
    """Whoever is started meanwhile has a low soft limit."""
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)


def rounds(up: Up, names: list[str], count: int) -> None:
    with few_descriptors():
        up.start()
    wait_until(
        lambda: up.runtime.joinpath("control.sock").exists(), what="a supervisor", seconds=60
    )
    running = wait_ready(up, names, {})
    holdings = Holdings(up)
    assert holdings.descriptors() > FEW_DESCRIPTORS
    ids = {app.host_uid for app in up.status().apps}
    assert len(ids) == len(names)
    seen = []
    with ControlClient(str(up.runtime / "control.sock")) as client:
        for _ in range(count):
            for name in names:
                client.command(name, "restart")
            running = wait_ready(up, names, running)
            for name in names:
                client.command(name, "stop")
            wait_stopped(up, names)
            quiet = (holdings.descriptors(), holdings.groups())
            # The door and the holder of what outlives the supervisor.
            wait_until(
                lambda: holdings.processes() <= 2, what="the cells' end", seconds=60, interval=0.1
            )
            for name in names:
                client.command(name, "start")
            running = wait_ready(up, names, running)
            gc.collect()
            seen.append((quiet, holdings.descriptors(), holdings.groups(), holdings.memory()))
    first, last = seen[0], seen[-1]
    # The same when all are stopped, and when all run, in each round; but for the connection
    # that asks, which may be open or not.
    assert abs(last[0][0] - first[0][0]) <= ASKING
    assert abs(last[1] - first[1]) <= ASKING
    assert (last[0][1], last[2]) == (first[0][1], first[2])
    assert last[3] - first[3] < GROWTH
    assert {app.host_uid for app in up.status().apps} == ids
    assert mounts(up) == []
    assert up.stop(seconds=300) == 0
    assert holdings.groups() == 0
    assert mounts(up) == []


def test_a_few_in_a_loop_leave_nothing(up: Up) -> None:
    rounds(up, many(up, 6), 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_200_in_a_loop_leave_nothing(up: Up) -> None:
    rounds(up, many(up, 200), 2)
