"""The processes of NGINX Unit's applications: as many as the load asks for, each for as many
requests as it may answer; set up by curl commands on the control socket."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.traffic import NAMED, Traffic, pids
from tests.support.unit_up import UnitUp, free_port, get, idle_unit
from tests.support.waiting import wait_until


@pytest.fixture
def up() -> Iterator[UnitUp]:
    with idle_unit() as running:
        yield running


def serve(up: UnitUp, code: str, **members: Any) -> tuple[int, Path]:
    """Has an application `web` of this text; its port, and its folder."""
    port, folder = free_port(), up.folder / "code"
    folder.mkdir()
    (folder / "web.py").write_text(code)
    application = {"type": "python 3", "path": str(folder), "module": "web", "callable": "app"}
    listeners = {f"127.0.0.1:{port}": {"pass": "applications/web"}}
    up.put("/config", {"listeners": listeners, "applications": {"web": application | members}})
    return port, folder


def running(up: UnitUp) -> int:
    """As Unit's status counts them."""
    found: int = up.configure("GET", "/status/applications/web/processes/running")
    return found


def test_no_request_fails_while_processes_that_have_their_number_are_replaced(up: UnitUp) -> None:
    port, _ = serve(up, NAMED, processes=2, limits={"requests": 20})
    up.wait_ready("web")
    first = wait_until(
        lambda: len(found := pids(up.app("web"))) == 2 and found, what="both", seconds=60
    )
    assert first

    def ask() -> bytes:
        return get(port).encode()

    with Traffic([ask, ask, ask]) as traffic:
        traffic.until_replaced(up, "web", first)
    assert traffic.failures == []
    assert len(traffic.answers) >= 4
    assert up.app("web").failure is None
    # The bound can be taken away: whoever serves then is left alone.
    assert up.configure("GET", "/config/applications/web/limits/requests") == 20
    up.put("/config/applications/web/limits", {"requests": 0})


def test_requests_of_a_program_that_brings_its_own_server_are_not_counted(up: UnitUp) -> None:
    port, _ = serve(up, NAMED)
    program = {"type": "external", "executable": "/usr/bin/python3", "limits": {"requests": 10}}
    refused = up.configure("PUT", "/config/applications/other", program)
    assert "/applications/other/limits/requests" in refused["detail"]
    assert "--max-requests" in refused["detail"]
    assert get(port)  # what runs, goes on


SLOW = """
import asyncio, os
async def app(scope, receive, send):
    while scope["path"] == "/slow" and not os.path.exists(os.environ["ENOUGH"]):
        await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
"""Answers once a file is there."""


def test_the_number_of_processes_follows_the_load(up: UnitUp) -> None:
    enough = up.folder / "enough"
    port, _ = serve(
        up,
        SLOW,
        processes={"max": 3, "spare": 1, "idle_timeout": 1},
        environment={"ENOUGH": str(enough)},
    )
    wait_until(lambda: running(up) == 1, what="the spare one", seconds=60)
    clients = [threading.Thread(target=get, args=(port, "/slow")) for _ in range(7)]
    clients[0].start()
    # The one that answers is spare no more.
    wait_until(lambda: running(up) == 2, what="another spare one", seconds=60)
    for client in clients[1:]:
        client.start()
    wait_until(lambda: running(up) == 3, what="the most", seconds=60)
    wait_until(
        lambda: up.configure("GET", "/status/applications/web/requests/active") == len(clients),
        what="every request on its way",
        seconds=60,
    )
    assert running(up) == 3  # and no more
    enough.touch()
    for client in clients:
        client.join()
    wait_until(lambda: running(up) == 1, what="one that is spare", seconds=60)
    assert get(port) == "ok"
    # Without any that stands by, none is left, and the next request starts one.
    up.put("/config/applications/web/processes", {"max": 3, "spare": 0, "idle_timeout": 1})
    wait_until(lambda: running(up) == 0, what="none", seconds=60)
    assert get(port) == "ok"
