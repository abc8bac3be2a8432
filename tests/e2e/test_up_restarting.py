"""``cloister up``: restarts, several processes, idle applications, under real traffic."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.traffic import NAMED, Traffic, pids
from tests.support.up import ASGI, Client, Up, open_folder
from tests.support.waiting import wait_until

from cloister.apps.status import AppStatus
from cloister.control.client import ControlClient


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        up = Up(folder)
        yield up
        up.close()


def ask(up: Up, name: str, verb: str) -> AppStatus:
    with ControlClient(str(up.runtime / "control.sock")) as client:
        return client.command(name, verb)


@pytest.mark.parametrize("endpoint", ["inherit", "handoff"])
@pytest.mark.parametrize("processes", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_restarts_under_load_lose_no_request(up: Up, processes: int, endpoint: str) -> None:
    up.write({"one": NAMED}, f'processes = {processes}\nendpoint = "{endpoint}"\n')
    up.start()
    up.wait_ready()
    wait_until(lambda: len(pids(up.app("one"))) == processes, what="all processes", seconds=30)
    with Traffic.by_name(up, "one.example") as traffic:
        traffic.go_on(50)
        for _ in range(3):
            before = pids(up.app("one"))
            ask(up, "one", "restart")

            def replaced(before: set[int] = before) -> bool:
                now = up.app("one")
                assert now.state == "ready"  # at every moment somebody serves
                others = {one.pid for one in now.processes}
                return len(others) == processes and not others & before

            wait_until(replaced, what="other processes", seconds=60)
            traffic.go_on(50)
    assert traffic.failures == []
    assert traffic.count >= 200
    assert len(traffic.answers) > processes
    assert up.app("one").failure is None


@pytest.mark.slow
def test_several_processes_share_one_socket_each_in_a_cell_of_its_own(up: Up) -> None:
    up.write({"one": NAMED}, "processes = 3\n")
    up.start()
    up.wait_ready()
    app = wait_until(
        lambda: (found := up.app("one")) and len(pids(found)) == 3 and found,
        what="three processes",
        seconds=30,
    )
    assert len({one.pid for one in app.processes}) == 3
    with Traffic.by_name(up, "one.example", threads=8) as traffic:
        wait_until(
            lambda: len(traffic.answers) == 3 or traffic.failures,
            what="answers of all three",
            seconds=60,
        )
        # One of them dies: the others serve, and another one takes its place.
        os.kill(min(pids(app)), signal.SIGKILL)
        wait_until(
            lambda: up.app("one").restarts == 1 and len(pids(up.app("one"))) == 3,
            what="another one in its place",
            seconds=30,
        )
    failure = up.app("one").failure
    assert failure is not None
    assert failure.message == "ended by itself (killed by SIGKILL)"


def test_a_restart_into_a_broken_application_leaves_the_one_that_runs(up: Up) -> None:
    up.write({"one": ASGI}, "restart = { failures = 2 }\n")
    up.start()
    up.wait_ready()
    before = pids(up.app("one"))
    code = up.folder / "apps" / "one" / "web.py"
    code.write_text("import nothing_of_this_name\n")
    ask(up, "one", "restart")
    status = wait_until(
        lambda: (found := up.app("one")) and found.failure and len(found.processes) == 1 and found,
        what="the end of the restart",
        seconds=30,
    )
    assert (status.state, pids(status)) == ("ready", before)
    assert status.failure is not None
    assert status.failure.message == "the restart is given up: the processes before it go on"
    assert "ModuleNotFoundError: No module named 'nothing_of_this_name'" in "".join(
        status.failure.last_output
    )
    assert up.curl("one.example").startswith("asgi https / ")
    code.write_text(NAMED)
    ask(up, "one", "restart")
    wait_until(
        lambda: pids(up.app("one")) and not pids(up.app("one")) & before,
        what="the corrected one",
        seconds=30,
    )


def test_a_crash_loop_ends_with_its_last_words_and_a_request_begins_anew(up: Up) -> None:
    up.write({"one": "raise RuntimeError('no database')\n"}, "restart = { failures = 3 }\n")
    up.start()
    failed = wait_until(
        lambda: (found := _app(up, "one")) and found.state == "failed" and found,
        what="the end of the loop",
        seconds=60,
    )
    assert failed.failure is not None
    assert failed.failure.message.startswith("given up after 3 failures within 600 s")
    assert "RuntimeError: no database" in failed.failure.last_output
    # The operator sees it where `up` runs, too.
    assert any("RuntimeError: no database" in line.get("details", []) for line in up.log())
    (up.folder / "apps" / "one" / "web.py").write_text(ASGI)
    ask(up, "one", "start")
    up.wait_ready()


def _app(up: Up, name: str) -> AppStatus | None:
    try:
        return up.app(name)
    except Exception:  # noqa: BLE001 - it is starting
        return None


def test_an_idle_application_ends_and_the_next_connection_starts_it(up: Up) -> None:
    up.write({"one": NAMED, "two": ASGI}, 'idle-stop = "1s"\n')  # of the last one, `two`
    up.start()
    up.wait_ready("one")
    wait_until(lambda: up.app("two").state == "dormant", what="nothing to do", seconds=30)
    assert up.app("two").processes == ()
    for _ in range(3):
        assert up.curl("two.example").startswith("asgi https / ")
        assert up.app("two").state == "ready"
        wait_until(lambda: up.app("two").state == "dormant", what="its rest", seconds=30)
    assert up.app("two").failure is None
    assert up.app("two").pid is None


@pytest.mark.slow
def test_connections_at_the_moment_of_its_rest_are_served(up: Up) -> None:
    """Again and again it is asked just when it ends for want of requests."""
    up.write({"one": NAMED}, 'idle-stop = "200ms"\n')
    up.start()
    wait_until(lambda: (app := _app(up, "one")) and app.state == "dormant", what="rest", seconds=30)
    client = Client(up, "one.example")
    seen = set()
    for _ in range(6):
        seen.add(client.get())
        wait_until(
            lambda: up.app("one").state in ("retiring", "restarting", "dormant"),
            what="its end",
            seconds=30,
        )
    # Whether the one that is leaving answers, or the next one, is the moment's: not whether.
    assert len(seen) > 1
    assert up.app("one").failure is None


SLOW = """
import asyncio, os
async def app(scope, receive, send):
    while scope["path"] == "/slow" and not os.path.exists("enough"):
        await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def test_as_many_processes_as_there_is_to_do(up: Up) -> None:
    up.write({"one": SLOW}, 'processes = { max = 3, spare = 1, idle-timeout = "500ms" }\n')
    up.start()
    up.wait_ready()
    assert len(pids(up.app("one"))) == 1
    client = Client(up, "one.example")
    threads = [threading.Thread(target=client.get, args=("/slow",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(pids(up.app("one"))) == 3, what="three processes", seconds=30)
    (up.folder / "apps" / "one" / "enough").touch()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(up.app("one").processes) == 1, what="one that is spare", seconds=30)
    assert client.get() == b"ok"


COMMAND = """
import os, socket, sys, time
listening = socket.socket(fileno={fd})
{before}
while True:
    connection, _ = listening.accept()
    with connection:
        request = connection.recv(4096)
        status = b"503 Not Yet" if os.path.exists("{flag}") else b"200 OK"
        if request:
            connection.sendall(b"HTTP/1.1 " + status + b"\\r\\ncontent-length: 2\\r\\n\\r\\nok")
"""


@pytest.fixture
def command(up: Up) -> Callable[[str], Path]:
    def write(settings: str, before: str = "") -> Path:
        folder = up.folder / "apps" / "plain"
        folder.mkdir(parents=True)
        flag = folder / "not-yet"
        (folder / "server.py").write_text(COMMAND.format(fd=3, before=before, flag=flag))
        up.config.write_text(
            f'[cloister]\nruntime-directory = "{up.runtime}"\nstate-directory = "{up.state}"\n'
            f'[listeners.plain]\nlisten = "127.0.0.1:0"\n'
            f'route = {{ target = "unix:{up.runtime}/apps/plain/socket" }}\n'
            f'[apps.plain]\ncommand = ["python3", "{folder}/server.py", "--fd={{fd}}"]\n'
            f'directory = "{folder}"\nready-timeout = "20s"\n{settings}'
        )
        return flag

    return write


def test_an_http_answer_shows_that_it_serves(up: Up, command: Callable[[str], Path]) -> None:
    flag = command('ready = "http:/health"\n')
    flag.touch()
    up.start()
    wait_until(
        lambda: (app := _app(up, "plain")) and app.state == "starting", what="start", seconds=30
    )
    # It has taken probes by now, and answers them by 503.
    flag.unlink()
    up.wait_ready()


@pytest.mark.slow
def test_a_rolling_restart_waits_for_the_new_one_s_own_answer(
    up: Up, command: Callable[[str, str], Path]
) -> None:
    """Both take from one socket: that the old one answers shows nothing."""
    flag = command(
        'ready = "http:/"\nrestart = { failures = 1 }\n',
        f'if os.path.exists("{up.folder}/apps/plain/broken"): time.sleep(600)',
    )
    config = up.config.read_text()
    up.config.write_text(config.replace('ready-timeout = "20s"', 'ready-timeout = "2s"'))
    up.start()
    up.wait_ready()
    before = pids(up.app("plain"))
    (flag.parent / "broken").touch()
    ask(up, "plain", "restart")
    status = wait_until(
        lambda: (found := up.app("plain")) and found.failure and found,
        what="the end of the restart",
        seconds=30,
    )
    assert pids(status) == before
    (flag.parent / "broken").unlink()
    ask(up, "plain", "restart")
    wait_until(
        lambda: pids(up.app("plain")) and not pids(up.app("plain")) & before,
        what="the next one",
        seconds=30,
    )
