"""``cloister up``: applications that dial what they may, and nothing else."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.support.open_python import open_python
from tests.support.ordinary_user import need_user_namespaces
from tests.support.ping import DIAL, backend, host_address, unix_backend
from tests.support.up import Client, Traces, Up, have_ended, open_folder
from tests.support.waiting import wait_until

from cloister.apps.status import AppStatus
from cloister.control.client import ControlClient

USER = 487_302
"""An ordinary user, whom nothing else belongs to."""
DIALS = (
    DIAL
    + """
import asyncio, json
from urllib.parse import parse_qs
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    asked = parse_qs(scope["query_string"].decode())
    host = asked["host"][0]
    place = host if host.startswith("/") else (host, int(asked["port"][0]))
    found = await asyncio.to_thread(dial, place)
    body = json.dumps(found).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
)


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


class Dialler:
    """Has an application dial."""

    def __init__(self, up: Up, host: str) -> None:
        self._client = Client(up, host)

    def __call__(self, host: str, port: int = 0) -> Any:
        return json.loads(self._client.get(f"/?host={host}&port={port}"))


def serve(up: Up, ways: str, extra: str = "") -> Dialler:
    up.write({"one": DIALS}, f"egress = [{ways}]\n{extra}\n")
    up.start("--log-format", "json")
    up.wait_ready()
    return Dialler(up, "one.example")


def egress_doors(up: Up) -> list[psutil.Process]:
    """All but the front door, which serves by server name and has no network."""
    front = up.status().door.pid
    return [
        one
        for one in up.family()
        if one.name() == "cloister-door" and one.cmdline()[1] == "serve" and one.pid != front
    ]


def ask(up: Up, verb: str) -> AppStatus:
    with ControlClient(str(up.runtime / "control.sock")) as client:
        return client.command("one", verb)


def test_what_is_listed_is_reached_by_its_name_and_nothing_else_is(up: Up) -> None:
    with backend() as port, backend() as other:
        unix = up.folder / "backend.sock"
        with unix_backend(unix):
            ways = (
                f'{{ name = "db.internal", port = 5432, to = "localhost:{port}" }},'
                f'{{ name = "cache.internal", port = 6379, to = "unix:{unix}" }}'
            )
            # Its ways are open to it even where it may connect to no other port.
            up.write(
                {"free": DIALS, "none": DIALS, "one": DIALS},
                f"egress = [{ways}]\nfences = {{ tcp-connect = [{port}, {other}, 443, 5432] }}\n"
                "[apps.free.isolation]\nnamespaces = { network = false }\n",
            )
            up.start("--log-format", "json")
            up.wait_ready()
            dial, free, none = (Dialler(up, f"{name}.example") for name in ("one", "free", "none"))
            assert dial("db.internal", 5432) == "pong to ping"
            assert dial("cache.internal", 6379) == "pong to ping"
        # The same service, the same host, another service: none of it is there for the cell.
        for host, number in (
            ("127.0.0.1", port),
            ("127.0.0.1", other),
            ("db.internal", other),
            ("cache.internal", 5432),
            ("127.0.1.3", 5432),
        ):
            assert dial(host, number) == errno.ECONNREFUSED, (host, number)
        own = host_address()
        for host in ["192.0.2.1", *([] if own is None else [own])]:
            assert dial(host, port) == errno.ENETUNREACH, host
        assert dial("api.internal", 443) == "no such name"
        # One application's ways are not another's, and none listed means none.
        assert none("db.internal", 5432) == "no such name"
        assert none("127.0.1.1", 5432) == errno.ECONNREFUSED
        assert none("127.0.0.1", port) == errno.ECONNREFUSED
        # Each of these is open where that fence is away.
        for number in (port, other):
            assert free("127.0.0.1", number) == "pong to ping"
        (door,) = egress_doors(up)
        check_confined(door, up.app("one").host_uid)


def test_a_socket_in_the_cell_leads_to_its_one_destination(up: Up) -> None:
    with backend() as port:
        ways = (
            f'{{ socket = "/run/backend.sock", to = "localhost:{port}" }},'
            f'{{ name = "db.internal", port = 5432, socket = "/tmp/db.sock", '
            f'to = "127.0.0.1:{port}" }}'
        )
        up.write({"none": DIALS, "one": DIALS}, f"egress = [{ways}]\nprocesses = 2\n")
        up.start("--log-format", "json")
        up.wait_ready()
        dial, none = Dialler(up, "one.example"), Dialler(up, "none.example")
        for place in (("/run/backend.sock",), ("/tmp/db.sock",), ("db.internal", 5432)):
            assert dial(*place) == "pong to ping"
            assert none(*place) in (errno.ENOENT, "no such name")
        # Neither is what it leads to there, nor the host's own socket of such a path.
        assert dial("127.0.0.1", port) == errno.ECONNREFUSED
        assert dial("/run/other.sock") == errno.ENOENT
        assert not Path("/run/backend.sock").exists()
        (door,) = egress_doors(up)
        door.kill()
        assert dial("/run/backend.sock") == "pong to ping"
        # A next supervisor goes on with the same cells and the same sockets.
        cells = {one.pid for one in up.app("one").processes}
        up.kill()
        up.start("--log-format", "json")
        up.wait_ready()
        assert {one.pid for one in up.app("one").processes} == cells
        assert dial("/run/backend.sock") == "pong to ping"
        assert dial("/tmp/db.sock") == "pong to ping"


def egress_counts(up: Up) -> dict[str, tuple[int, int, int, int, int]]:
    return {
        one.name: (one.accepted, one.active, one.failed, one.bytes_to_target, one.bytes_to_client)
        for one in up.app("one").egress
    }


def test_what_each_way_was_used_for_is_counted(up: Up) -> None:
    with backend() as port:
        ways = (
            f'{{ name = "db.internal", port = 5432, socket = "/run/db.sock", '
            f'to = "127.0.0.1:{port}" }},'
            '{ name = "gone.internal", port = 1, to = "unix:/nowhere" }'
        )
        dial = serve(up, ways, "processes = 2")
        assert egress_counts(up) == {
            "db.internal:5432": (0, 0, 0, 0, 0),
            "gone.internal:1": (0, 0, 0, 0, 0),
        }
        for place in (("db.internal", 5432), ("/run/db.sock",), ("db.internal", 5432)):
            assert dial(*place) == "pong to ping"
        dial("gone.internal", 1)
        expected = {
            "db.internal:5432": (3, 0, 0, 3 * len("ping"), 3 * len("pong to ping")),
            "gone.internal:1": (1, 0, 1, 0, 0),
        }
        wait_until(lambda: egress_counts(up) == expected, what="all of it counted")
        transport = httpx.HTTPTransport(uds=str(up.runtime / "control.sock"))
        with httpx.Client(transport=transport, base_url="http://cloister") as client:
            metrics = client.get("/metrics").text
        labels = 'app="one",way="db.internal:5432"'
        assert f"cloister_app_egress_connections_accepted_total{{{labels}}} 3\n" in metrics
        # They are not lost with the door, nor with the supervisor that has asked for them.
        (door,) = egress_doors(up)
        door.kill()
        assert dial("/run/db.sock") == "pong to ping"
        wait_until(
            lambda: egress_counts(up)["db.internal:5432"][:2] == (4, 0), what="one connection more"
        )
        up.kill()
        up.start("--log-format", "json")
        up.wait_ready()
        assert dial("db.internal", 5432) == "pong to ping"
        wait_until(
            lambda: egress_counts(up)["db.internal:5432"][:2] == (2, 0),
            what="what the door that is there has counted",
        )


def check_confined(door: psutil.Process, app_uid: int) -> None:
    status = Path(f"/proc/{door.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0
    assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")
    uid = int(fields["Uid"].split()[0])
    assert uid != 0
    if os.geteuid() == 0 and app_uid != USER:
        assert uid != app_uid


def test_ways_outlive_their_door_a_restart_and_the_supervisor(up: Up) -> None:
    left = ("state", "log", "apps", "cloister.toml", "run")
    before = Traces(up.folder, ignore=left)
    with backend() as port:
        way = f'{{ name = "db.internal", port = 5432, to = "127.0.0.1:{port}" }}'
        dial = serve(up, way, "processes = 2")
        assert dial("db.internal", 5432) == "pong to ping"
        (door,) = egress_doors(up)
        # Whoever dials while there is no door waits in the queue of its own cell.
        door.kill()
        assert dial("db.internal", 5432) == "pong to ping"
        (door,) = wait_until(lambda: egress_doors(up), what="another door")
        pids = {one.pid for one in up.app("one").processes}
        ask(up, "restart")

        def restarted() -> bool:
            assert dial("db.internal", 5432) == "pong to ping"
            now = up.app("one").processes
            return len(now) == 2 and not {one.pid for one in now} & pids

        wait_until(restarted, what="others in their place", seconds=60)
        assert egress_doors(up) == [door]
        cells = {one.pid for one in up.app("one").processes}
        up.kill()
        assert dial("db.internal", 5432) == "pong to ping"
        up.start("--log-format", "json")
        assert {one.pid for one in up.wait_ready().apps[0].processes} == cells
        assert egress_doors(up) == [door]
        assert dial("db.internal", 5432) == "pong to ping"
        # Taken over, it still follows what comes and goes.
        ask(up, "restart")
        pids = cells
        wait_until(restarted, what="others in their place", seconds=60)
        ask(up, "stop")
        wait_until(lambda: have_ended([door]), what="the end of its door", seconds=60)
    assert up.stop() == 0
    assert Traces(up.folder, ignore=left) == before


def test_an_ordinary_users_supervisor_has_the_same_ways_out(up: Up) -> None:
    need_user_namespaces()
    if os.geteuid() == 0:
        up.python = open_python(up.folder)
        up.user = USER
        os.chown(up.folder, USER, USER)
    with backend() as port, backend() as other:
        way = 'name = "db.internal", port = 5432, socket = "/run/db.sock"'
        ways = f'{{ {way}, to = "localhost:{port}" }}'
        up.write({"none": DIALS, "one": DIALS}, f"egress = [{ways}]\n")
        up.start("--log-format", "json")
        assert up.wait_ready().rootless
        dial, none = Dialler(up, "one.example"), Dialler(up, "none.example")
        assert dial("db.internal", 5432) == "pong to ping"
        assert dial("/run/db.sock") == "pong to ping"
        for place in (("127.0.0.1", port), ("127.0.0.1", other), ("db.internal", other)):
            assert dial(*place) == errno.ECONNREFUSED, place
        for host in ("192.0.2.1", host_address() or "192.0.2.1"):
            assert dial(host, port) == errno.ENETUNREACH
        assert dial("api.internal", 443) == "no such name"
        # All cells are of one user of the host; what they reach is told apart all the same.
        assert none("db.internal", 5432) == "no such name"
        assert none("/run/db.sock") == errno.ENOENT
        assert none("127.0.1.1", 5432) == errno.ECONNREFUSED
        counts = egress_counts(up)["db.internal:5432"]
        assert (counts[0], counts[2]) == (2, 0)
        (door,) = egress_doors(up)
        check_confined(door, up.app("one").host_uid)
        family = up.family()
    assert up.stop() == 0
    wait_until(lambda: have_ended(family), what="the end of all", seconds=60)
