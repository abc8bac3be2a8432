"""The gateway between real applications, hostile ones among them, and a real Prometheus."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import psutil
import pytest
from tests.support import packages
from tests.support.metrics_apps import CHUNKED, GOOD, HOSTILE, PROXIED
from tests.support.processes import command_line
from tests.support.prometheus import promtool, samples
from tests.support.up import Client, Up, have_ended, open_folder
from tests.support.waiting import wait_until

from cloister.generate.grafana import panels
from cloister.observe.gateway import Gateway, OwnMetrics
from cloister.sockets.http_server import Request

ROOT = os.geteuid() == 0
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = f"# TYPE hits_total counter\\nhits_total{{path=\\"{scope['path']}\\"}} 1\\n".encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"text/plain; version=0.0.4")]})
    await send({"type": "http.response.body", "body": body})
"""
FRIENDS = {"good": GOOD, "chunked": CHUNKED, "proxied": PROXIED}
SLOW = ("hangs", "dribbles", "never-accepts")
"""Asked for as long as the test runs, where they are to hold others up."""


def command(name: str, text: str, *, more: str) -> str:
    line = json.dumps(["/usr/bin/python3", "-c", text])
    return f'[apps.{name}]\ncommand = {line}\nhosts = ["{name}.example"]\n{more}\n'


class Running:
    """A supervisor with a gateway before friendly and hostile applications."""

    def __init__(self, folder: Path) -> None:
        self.up = Up(folder)
        token = folder / "token"
        token.write_text("a secret\n")
        token.chmod(0o600)
        self.unix = folder / "metrics.sock"
        blocks = [
            f'[metrics]\nlisten = ["127.0.0.1:0", "unix:{self.unix}"]\ntoken = "{token}"\n',
            *(
                command(name, text, more=f'metrics = {{ timeout = "10s" }}\n{self._proxy(name)}')
                for name, text in FRIENDS.items()
            ),
            *(
                command(name, text, more='metrics = { timeout = "1s" }\nready-timeout = "60s"')
                for name, (text, _) in HOSTILE.items()
            ),
            command("patient", HOSTILE["hangs"][0], more='metrics = { timeout = "600s" }'),
            command("single", GOOD, more='metrics = { listen = "127.0.0.1:0" }'),
        ]
        self.up.write({"web": ASGI}, "\n".join(blocks))
        text = self.up.config.read_text()
        self.up.config.write_text(
            text.replace("[apps.web]\n", '[apps.web]\nmetrics = "/metrics?all=1"\n')
        )

    @staticmethod
    def _proxy(name: str) -> str:
        return 'send-proxy = "v1"' if name == "proxied" else ""

    def start(self) -> None:
        self.up.start("--log-format", "json")
        self.up.wait_ready("web", "single", *FRIENDS)
        wait_until(lambda: "ready" in self.up.said("metrics"), what="the gateway", seconds=30)

    def port(self, whose: str = "everything") -> int:
        pattern = re.compile(rf"metrics of {whose} are asked for at 127.0.0.1:(\d+)")
        return next(int(m[1]) for line in self.up.said("cloister") if (m := pattern.match(line)))

    def get(self, path: str, *, token: str = "a secret", port: int | None = None) -> httpx.Response:
        url = f"http://127.0.0.1:{port or self.port()}{path}"
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.get(url, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with open_folder() as folder:
        found = Running(folder)
        try:
            found.start()
            yield found
        finally:
            found.up.close()


@pytest.mark.parametrize("name", FRIENDS)
def test_what_an_application_says_is_handed_on_as_it_is(running: Running, name: str) -> None:
    response = running.get(f"/apps/{name}/metrics")
    assert (response.status_code, samples(response.text)) == (200, {"app_requests_total": 7})
    assert response.headers["content-type"] == "text/plain; version=0.0.4"


def test_an_application_with_tls_and_a_path_of_its_own(running: Running) -> None:
    response = running.get("/apps/web/metrics")
    assert samples(response.text) == {'hits_total{path="/metrics"}': 1}


def test_an_address_for_one_application_offers_nothing_else(running: Running) -> None:
    port = running.port("single")
    assert samples(running.get("/metrics", port=port).text) == {"app_requests_total": 7}
    assert running.get("/apps/good/metrics", port=port).status_code == 404
    assert running.get("/sd", port=port).status_code == 404


@pytest.mark.parametrize("token", ["", "another", "a secret more"])
def test_without_the_token_nothing_is_said(running: Running, token: str) -> None:
    for path in ("/metrics", "/sd", "/apps/good/metrics", "/apps/none/metrics"):
        response = running.get(path, token=token)
        assert (response.status_code, response.headers["www-authenticate"]) == (
            401,
            'Bearer realm="cloister metrics"',
        )
        assert "app" not in response.text
    single = running.get("/metrics", token=token, port=running.port("single"))
    assert single.status_code == 401


def test_a_unix_socket_has_its_mode_instead_of_a_token(running: Running) -> None:
    assert running.unix.stat().st_mode & 0o777 == 0o660
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(running.unix))) as client:
        assert samples(client.get("http://x/apps/good/metrics").text) == {"app_requests_total": 7}


@pytest.mark.parametrize(("name", "reason"), [(n, r) for n, (_, r) in HOSTILE.items()])
def test_a_hostile_application_is_refused_with_the_reason(
    running: Running, name: str, reason: str
) -> None:
    response = running.get(f"/apps/{name}/metrics")
    assert response.status_code == (504 if reason == "timeout" else 502)
    assert f"({reason})" in response.text
    own = samples(running.get("/metrics").text)
    assert own[f'cloister_scrape_up{{app="{name}"}}'] == 0
    assert own[f'cloister_scrape_failures_total{{app="{name}",reason="{reason}"}}'] >= 1


def test_an_application_that_hangs_holds_up_no_other(running: Running) -> None:
    """The others answer while it is being waited for, however many ask for it."""
    outcomes: list[int] = []

    def ask() -> None:
        url = f"http://127.0.0.1:{running.port()}/apps/patient/metrics"
        headers = {"authorization": "Bearer a secret"}
        try:
            outcomes.append(httpx.get(url, headers=headers, timeout=60).status_code)
        except httpx.TransportError:
            outcomes.append(0)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(20)]
    for thread in threads:
        thread.start()
    name = 'cloister_scrapes_total{app="patient"}'
    wait_until(lambda: samples(running.get("/metrics").text)[name] == 1, what="it is asked")
    for friend in FRIENDS:
        assert running.get(f"/apps/{friend}/metrics").status_code == 200
    assert outcomes == []  # all twenty still wait, for one and the same answer
    assert samples(running.get("/metrics").text)[name] == 1


def test_two_gigabytes_cost_the_gateway_no_memory(running: Running) -> None:
    (gateway,) = gateway_processes(running)
    running.get("/apps/good/metrics")
    before = gateway.memory_info().rss
    for name in ("sends-2g", "promises-2g", "endless-head", "garbage"):
        assert running.get(f"/apps/{name}/metrics").status_code == 502
    # One bounded answer (16 MiB), as bytes and as text, may stay with the allocator.
    assert gateway.memory_info().rss - before < 64 * 1024 * 1024


def gateway_processes(running: Running) -> list[psutil.Process]:
    assert running.up.process is not None
    children = psutil.Process(running.up.process.pid).children()
    return [child for child in children if "cloister.observe.gateway" in command_line(child)]


def test_cloisters_own_metrics_and_how_applications_answered(running: Running) -> None:
    Client(running.up, "web.example").get()
    running.get("/apps/good/metrics")

    def counted() -> str | None:
        # The door's workers count for themselves, and are asked a while after.
        text = running.get("/metrics").text
        accepted = samples(text).get('cloister_app_connections_accepted_total{app="web"}', 0)
        return text if accepted >= 1 else None

    text = wait_until(counted, what="the connection is counted", seconds=30, interval=0.1)
    assert text is not None
    done = promtool(text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    own = samples(text)
    assert own["cloister_door_ready"] == 1
    assert own['cloister_scrape_up{app="good"}'] == 1
    assert own['cloister_scrape_size_bytes{app="good"}'] > 40


@pytest.mark.skipif(not ROOT, reason="needs root: otherwise nobody else can be become")
def test_the_gateway_is_nobody_and_has_no_network(running: Running) -> None:
    (gateway,) = gateway_processes(running)
    uids = set(gateway.uids())
    assert len(uids) == 1
    (uid,) = uids
    status = running.up.status()
    assert uid not in {0, status.door.host_uid, *(app.host_uid for app in status.apps)}
    assert set(gateway.gids()) == {uid}
    lines = Path(f"/proc/{gateway.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines
    assert f"Groups:\t{status.door.host_uid}" in lines
    here, there = (Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", gateway.pid))
    assert here != there


def test_clients_that_stall_keep_nobody_out(running: Running) -> None:
    stalled = []
    try:
        for _ in range(64):
            connection = socket.create_connection(("127.0.0.1", running.port()), timeout=10)
            connection.sendall(b"GET /metrics HTTP/1.1\r\n")
            stalled.append(connection)
        assert running.get("/apps/good/metrics").status_code == 200
    finally:
        for connection in stalled:
            connection.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n",
    ],
    ids=["long", "tls", "bad-header", "post"],
)
def test_requests_that_are_none_are_answered_and_closed(
    running: Running, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", running.port()), timeout=30) as connection:
        connection.sendall(request_bytes)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert re.match(rb"HTTP/1\.1 4\d\d ", received), received


def test_a_gateway_that_is_killed_is_followed_by_another_on_the_same_port(
    running: Running,
) -> None:
    port = running.port()
    (gateway,) = gateway_processes(running)
    gateway.kill()

    def another() -> bool:
        found = gateway_processes(running)
        return bool(found) and found[0].pid != gateway.pid

    wait_until(another, what="another gateway", seconds=30)
    # Who comes before it is ready waits in the queue.
    assert running.get("/apps/good/metrics", port=port).status_code == 200


def test_a_real_prometheus_finds_and_scrapes_everything(running: Running, tmp_path: Path) -> None:
    packages.need("prometheus")
    # The configuration that `cloister generate prometheus` prints, with this port.
    base = f"http://127.0.0.1:{running.port()}"
    command = [sys.executable, "-m", "cloister", "generate", "prometheus", base]
    command += ["--token-file", str(running.up.folder / "token")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    body = "".join(line + "\n" for line in printed.splitlines() if not line.startswith("#"))
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: { scrape_interval: 1s, scrape_timeout: 1s }\n"
        + body.replace("refresh_interval: 30s", "refresh_interval: 1s")
    )
    checked = subprocess.run(
        ["promtool", "check", "config", config], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with subprocess.Popen(["prometheus", *options]) as prometheus:
        try:

            def query(text: str) -> dict[str, float]:
                try:
                    answer = httpx.get(
                        f"http://{address}/api/v1/query", params={"query": text}, timeout=10
                    ).json()
                except (httpx.TransportError, ValueError):
                    return {}
                return {
                    one["metric"].get("app", ""): float(one["value"][1])
                    for one in answer.get("data", {}).get("result", [])
                }

            everybody = {"", "web", "single", "patient", *FRIENDS, *HOSTILE}
            wait_until(lambda: query("up").keys() == everybody, what="all targets", seconds=60)
            wait_until(
                lambda: query("app_requests_total") == dict.fromkeys((*FRIENDS, "single"), 7.0),
                what="the friends' own metrics",
                seconds=60,
            )
            up = query("up")
            assert {name for name, value in up.items() if value} == {
                *("", "web", "single"),
                *FRIENDS,
            }
            assert query("cloister_door_ready") == {"": 1.0}
            ready = query("cloister_app_ready")
            assert ready["good"] == 1.0
            assert ready.keys() == everybody - {""}
            # The dashboard asks for nothing that Prometheus does not understand, or has not.
            for panel in panels("cloister"):
                for text, _ in panel.queries:
                    real = text.replace("$__rate_interval", "1m").replace("$app", ".*")
                    answer = httpx.get(
                        f"http://{address}/api/v1/query", params={"query": real}, timeout=10
                    )
                    assert answer.json()["status"] == "success", (panel.title, answer.text)
            names = set(re.findall(r"cloister_\w+", str(panels("x"))))
            stored = httpx.get(f"http://{address}/api/v1/label/__name__/values", timeout=10).json()
            assert names <= {*stored["data"]}
        finally:
            prometheus.terminate()
            prometheus.wait(30)


def test_a_changed_configuration_changes_what_the_gateway_offers(tmp_path: Path) -> None:
    with open_folder() as folder:
        found = Running(folder)
        up = found.up
        try:
            up.write({}, command("good", GOOD, more=""))
            up.start("--log-format", "json")
            up.wait_ready()
            plain = up.config.read_text()
            assert gateway_processes(found) == []

            def change(text: str) -> None:
                up.config.write_text(text)
                assert up.process is not None
                up.process.send_signal(signal.SIGHUP)

            def scraped(path: str) -> dict[str, float]:
                if not found.unix.exists():
                    return {}
                transport = httpx.HTTPTransport(uds=str(found.unix))
                try:
                    with httpx.Client(transport=transport, timeout=30) as client:
                        response = client.get(f"http://x{path}")
                except httpx.TransportError:
                    return {}
                return samples(response.text) if response.status_code == 200 else {}

            gateway = f'[metrics]\nlisten = "unix:{found.unix}"\n'
            change(gateway + plain)
            wait_until(lambda: "cloister_door_ready" in scraped("/metrics"), what="it", seconds=30)
            assert scraped("/apps/good/metrics") == {}
            change(gateway + plain + 'metrics = "/metrics"\n')
            wait_until(
                lambda: scraped("/apps/good/metrics") == {"app_requests_total": 7},
                what="the application's",
                seconds=30,
            )
            change(plain)
            wait_until(lambda: not gateway_processes(found), what="no gateway", seconds=30)
            assert not found.unix.exists()
        finally:
            up.close()


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        *(("127.0.0.1:9464", True), ("[::1]:9464", True), ("localhost:9464", True)),
        *(
            ("localhost", True),
            ("127.0.0.1", True),
            ("[::1]", True),
            ("::1", False),
            ("evil.example:9464", False),
        ),
        *(("evil.example", False), ("127.0.0.1.evil.example:9464", False), ("", False)),
    ],
)
def test_without_a_token_a_name_that_leads_to_loopback_reads_nothing(
    host: str, answered: bool
) -> None:
    """A page of evil.example asks the browser's own machine by its own name."""
    found = Gateway((), cast("OwnMetrics", None), None)
    request = Request("GET", "/sd", "", ((b"host", host.encode()),))
    response = asyncio.run(found.everything(guarded=True)(request))
    assert response.status == (200 if answered else 421)


def test_stopping_leaves_no_gateway_and_no_socket(tmp_path: Path) -> None:
    with open_folder() as folder:
        found = Running(folder)
        try:
            found.start()
            (gateway,) = gateway_processes(found)
            assert found.up.stop() == 0
            wait_until(lambda: not psutil.pid_exists(gateway.pid), what="the gateway's end")
            assert not found.unix.exists()
        finally:
            found.up.close()


def test_a_killed_supervisors_gateway_is_followed_and_no_scrape_is_refused(tmp_path: Path) -> None:
    """The gateway ends with its supervisor; its sockets do not, and the next one takes them."""
    with open_folder() as folder:
        found = Running(folder)
        try:
            found.start()
            port = found.port()
            (gateway,) = gateway_processes(found)
            found.up.kill()
            wait_until(lambda: have_ended([gateway]), what="the gateway's end", seconds=30)
            statuses: list[int] = []
            asking = threading.Thread(
                target=lambda: statuses.append(
                    found.get("/apps/good/metrics", port=port).status_code
                )
            )
            asking.start()  # nobody accepts, and nobody is refused
            found.start()
            asking.join(60)
            assert statuses == [200]
            assert found.port() == port
            (another,) = gateway_processes(found)
            assert another.pid != gateway.pid
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(found.unix))
            assert found.up.stop() == 0
            assert not found.unix.exists()
        finally:
            found.up.close()
