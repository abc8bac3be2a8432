"""The control API, asked by its own client over its own socket."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import cast

import pytest

from cloister.apps.configuration import ConflictError, RunningConfiguration
from cloister.apps.fleet import UnknownAppError
from cloister.apps.logs import LogFormat, Sink
from cloister.apps.status import (
    AppStatus,
    DaemonStatus,
    DoorStatus,
    Failure,
    ListenerStatus,
    ProtectionStatus,
    Traffic,
)
from cloister.apps.supervisor import Supervisor
from cloister.control.api import application
from cloister.control.client import ControlClient
from cloister.control.server import ControlServer
from cloister.model.configuration import Accepted, Configuration, Dialect
from cloister.model.errors import (
    CloisterError,
    ConfigError,
    DaemonUnreachableError,
    Location,
    NotPermittedError,
    Problem,
)
from cloister.model.listener import SocketOptions
from cloister.observe import metrics
from cloister.sockets.plan import plan_socket

BLOG = AppStatus(
    name="blog",
    program="python blog:app",
    state="ready",
    since=1.5,
    pid=77,
    restarts=1,
    host_uid=500001,
    hosts=("blog.example", "*.blog.example"),
    socket="/run/cloister/apps/blog/socket",
    message="warm",
    failure=Failure("ended by itself", 1.25, ("Traceback", "\x1b[31m")),
    traffic=Traffic(9, 1, 1000, 2000),
)
STATUS = DaemonStatus(
    version="1.2.3",
    pid=7,
    since=1.0,
    config="/etc/cloister/cloister.toml",
    runtime_directory="/run/cloister",
    authority=None,
    rootless=False,
    listeners=(ListenerStatus("https", "0.0.0.0:443", "by server name", 10, 1, {"complete": 9}),),
    apps=(BLOG,),
    door=DoorStatus(
        state="ready",
        since=1.0,
        pid=8,
        restarts=0,
        host_uid=500000,
        generation=1,
        replacements=1,
        draining=0,
        protections=(ProtectionStatus("seccomp", True, "80 calls"),),
        workers=2,
        accepted=10,
        active=1,
        log_lines_lost=0,
        accept_pauses=0,
        outcomes={"complete": 9},
        failure=None,
    ),
)


class FakeSupervisor:
    """Has one application, and notes what it is asked to do."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []
        self.answer = STATUS
        self.looks = 0
        """How often it was asked for everything."""

    async def status(self) -> DaemonStatus:
        self.looks += 1
        return self.answer

    async def app_status(self, name: str) -> AppStatus:
        if name != "blog":
            raise UnknownAppError(name, ("blog",))
        return BLOG

    def command(self, name: str, verb: str) -> None:
        if name != "blog":
            raise UnknownAppError(name, ("blog",))
        self.commands.append((name, verb))


class FakeConfiguration:
    """Accepts every text but one that is "bad"."""

    def __init__(self) -> None:
        self.accepted = Accepted(
            7, Configuration("# old", Dialect.TOML, "/etc/cloister.toml"), "digest", 1.0
        )

    def current(self) -> Accepted:
        return self.accepted

    async def replace(
        self, text: str, dialect: Dialect, *, expected: int | None = None
    ) -> Accepted:
        if expected not in (None, self.accepted.version):
            raise ConflictError("the configuration is version 7 by now")
        if text == "bad":
            raise ConfigError([Problem("syntax", "no TOML", Location("/f", 3, "apps"), "a", "b")])
        configuration = replace(self.accepted.configuration, text=text)
        self.accepted = replace(self.accepted, version=8, configuration=configuration)
        return self.accepted


class Running:
    """The server on a loop in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.supervisor = FakeSupervisor()
        self.configuration = FakeConfiguration()
        self.log = StringIO()
        self.sink = Sink(self.log, LogFormat.JSON)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        assert self._bound.wait(10)

    async def _run(self) -> None:
        supervisor = cast("Supervisor", self.supervisor)
        configuration = cast("RunningConfiguration", self.configuration)
        plan = plan_socket(self.path, SocketOptions(mode=0o600))

        async def own_metrics() -> str:
            return metrics.text(await supervisor.status())

        server = ControlServer(plan, application(supervisor, configuration, own_metrics), self.sink)
        server.start()
        self._bound.set()
        await self._stop.wait()
        await server.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()
        self.sink.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path / "control.sock")
    yield server
    server.close()
    assert not Path(server.path).exists()


def test_the_status_arrives_as_it_was(running: Running) -> None:
    with ControlClient(running.path) as client:
        assert client.status() == STATUS
        assert client.app("blog") == BLOG


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_an_application_is_commanded(running: Running, verb: str) -> None:
    with ControlClient(running.path) as client:
        assert client.command("blog", verb) == BLOG
    assert running.supervisor.commands == [("blog", verb)]
    assert running.supervisor.looks == 0  # of hundreds of applications that is work


def test_a_configuration_is_read_and_replaced(running: Running) -> None:
    with ControlClient(running.path) as client:
        assert client.configuration().text == "# old"
        assert client.replace_configuration("# é", Dialect.TOML, expected=7).version == 8
        found = client.configuration()
    assert (found.text, found.dialect, found.source) == ("# é", "toml", "/etc/cloister.toml")


def test_a_refused_configuration_arrives_with_every_problem(running: Running) -> None:
    with ControlClient(running.path) as client:
        with pytest.raises(ConfigError) as raised:
            client.replace_configuration("bad", Dialect.TOML)
        with pytest.raises(CloisterError, match="is version 7 by now"):
            client.replace_configuration("good", Dialect.TOML, expected=6)
        assert client.configuration().text == "# old"
    (problem,) = raised.value.problems
    assert problem == Problem("syntax", "no TOML", Location("/f", 3, "apps"), "a", "b")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"text":"x","dialect":"ini","expected":null}', b'{"text":1}']
)
def test_what_is_no_change_is_refused(running: Running, body: bytes) -> None:
    with ControlClient(running.path) as client, pytest.raises(CloisterError) as raised:
        client._ask("PUT", "/configuration", body=body)
    assert raised.value.what
    assert running.configuration.accepted.version == 7


@pytest.mark.parametrize("name", ["other", "%2e%2e", "blog%00"])
def test_an_unknown_application_is_named_with_the_known_ones(running: Running, name: str) -> None:
    with ControlClient(running.path) as client:
        with pytest.raises(CloisterError, match="there is no application") as raised:
            client.app(name)
        with pytest.raises(CloisterError, match="there is no application"):
            client.command(name, "stop")
    assert raised.value.hint == "the applications are: blog"
    assert running.supervisor.commands == []


def raw(path: str, method: str, target: str) -> tuple[int, dict[str, str | None]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        request = f"{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        connection.sendall(request.encode())
        with connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("method", "target", "instead"),
    [
        ("PUT", "/certificates/bundle", "give the application `hosts` and `tls`"),
        ("GET", "/certificates", "give the application `hosts` and `tls`"),
        ("PUT", "/js_modules/http.js", "route and rewrite in the application"),
    ],
)
def test_what_only_unit_has_is_refused_with_what_to_do_instead(
    running: Running, method: str, target: str, instead: str
) -> None:
    code, body = raw(running.path, method, target)
    assert code == 404
    assert instead in (body["hint"] or "")
    assert body["why"]


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [("GET", "/nothing", 404), ("DELETE", "/status", 405), ("GET", "/apps/blog/stop", 405)],
)
def test_a_refusal_says_what_and_what_to_do(
    running: Running, method: str, target: str, code: int
) -> None:
    found, body = raw(running.path, method, target)
    assert found == code
    assert str(body["what"]).startswith(f"{method} {target}")
    assert "GET /status" in str(body["hint"])


def test_a_list_of_applications(running: Running) -> None:
    code, body = raw(running.path, "GET", "/apps")
    assert code == 200
    assert [one["name"] for one in cast("list[dict[str, str]]", body)] == ["blog"]


def test_the_socket_is_closed_to_others(running: Running) -> None:
    assert Path(running.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask as another user")
def test_another_user_is_refused_even_where_the_mode_lets_it_in(running: Running) -> None:
    Path(running.path).chmod(0o666)
    asking = (
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setresuid(54321, 54321, 54321);"
        "s = socket.socket(socket.AF_UNIX); s.connect('control.sock');"
        "s.sendall(b'POST /apps/blog/stop HTTP/1.1\\r\\nhost: x\\r\\n'"
        "b'connection: close\\r\\n\\r\\n');"
        "print(s.makefile().read())"
    )
    folder = Path(running.path).parent
    # The current folder need not be reached by its path, but be searchable.
    folder.chmod(0o711)
    answer = subprocess.check_output([sys.executable, "-c", asking, folder], text=True)
    assert answer.startswith("HTTP/1.1 403 Forbidden")
    assert answer.count("HTTP/1.1") == 1
    assert "user 54321 is neither root" in answer
    assert running.supervisor.commands == []
    running.sink.close()
    assert json.loads(running.log.getvalue())["uid"] == 54321


def test_no_supervisor_at_all(tmp_path: Path) -> None:
    with (
        ControlClient(str(tmp_path / "none.sock")) as client,
        pytest.raises(DaemonUnreachableError, match="no supervisor runs") as raised,
    ):
        client.status()
    assert raised.value.hint == "start one with `cloister up`"


def test_a_socket_that_a_killed_supervisor_left(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with (
        ControlClient(str(path)) as client,
        pytest.raises(DaemonUnreachableError, match="no supervisor runs") as raised,
    ):
        client.status()
    assert "nobody listens" in str(raised.value.why)


def test_the_client_tells_a_refusal_of_its_user_apart(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    body = json.dumps({"what": "not permitted", "why": "you", "hint": "sudo"})
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def refuse() -> None:
            listening.accept()[0].close()  # the look whether anybody listens
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                head = f"HTTP/1.1 403 Forbidden\r\ncontent-length: {len(body)}\r\n\r\n"
                connection.sendall((head + body).encode())

        thread = threading.Thread(target=refuse)
        thread.start()
        with (
            ControlClient(str(path)) as client,
            pytest.raises(NotPermittedError, match="not permitted") as raised,
        ):
            client.status()
        thread.join()
    assert (raised.value.why, raised.value.hint) == ("you", "sudo")


def test_an_answer_of_another_version_is_told(running: Running) -> None:
    running.supervisor.answer = replace(STATUS, pid=cast("int", "seven"))
    with (
        ControlClient(running.path) as client,
        pytest.raises(CloisterError, match="not understood") as raised,
    ):
        client.status()
    assert "pid" in str(raised.value.why)
