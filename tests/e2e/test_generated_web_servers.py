"""nginx, Caddy and HAProxy with generated files before a socket that one group may use."""

import contextlib
import http.server
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support import packages
from tests.support.waiting import wait_until

from cloister.cli.main import main

pytestmark = pytest.mark.usefixtures("as_root")

GROUP = 61_234
"""Nobody's: who is to connect is given it."""
OUTSIDER = 61_235


class Application(http.server.BaseHTTPRequestHandler):
    """Answers with what it was told of the client."""

    def do_GET(self) -> None:
        text = f"socket answers, for {self.headers['X-Forwarded-For']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *args: object) -> None:
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a served application; its group is :data:`GROUP`, its mode 0660."""
    for folder in tmp_path.parents:
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    tmp_path.chmod(0o711)
    path = tmp_path / "web" / "web.sock"
    path.parent.mkdir(mode=0o755)
    with Server(str(path), Application) as server:
        os.chown(path, 0, GROUP)
        path.chmod(0o660)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield path
        server.shutdown()
        thread.join(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def generate(folder: Path, *arguments: str) -> None:
    assert main(["generate", *arguments, "--output", str(folder / "made")]) == 0


@contextlib.contextmanager
def running(command: Sequence[str | Path], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: listens(port) or process.poll() is not None, what="a listener")
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            yield
        finally:
            process.terminate()
            process.wait(10)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def get(port: int) -> tuple[int, str]:
    done = subprocess.run(
        ["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", f"http://127.0.0.1:{port}/"],
        check=True,
        capture_output=True,
        text=True,
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


ANSWER = (200, "socket answers, for 127.0.0.1")


def test_a_user_outside_the_group_is_refused(path: Path) -> None:
    """The same request that the servers make."""

    def ask(group: int) -> subprocess.CompletedProcess[str]:
        user = f"--reuid={OUTSIDER}", f"--regid={group}", "--clear-groups"
        curl = "curl", "-sS", "--unix-socket", path, "http://web/"
        return subprocess.run(
            ["setpriv", *user, *curl], check=False, capture_output=True, text=True
        )

    assert ask(GROUP).stdout == "socket answers, for None"
    refused = ask(OUTSIDER)
    assert refused.returncode == 7
    assert refused.stdout == ""


@pytest.mark.parametrize("direct", [(), ("--direct",)], ids=["upstream", "direct"])
def test_nginx(path: Path, tmp_path: Path, direct: tuple[str, ...]) -> None:
    packages.need("nginx")
    port = free_port()
    generate(tmp_path, "nginx", "web", "--socket", str(path), *direct)
    made = tmp_path / "made/etc/nginx"
    configuration = tmp_path / "nginx.conf"
    upstream = "" if direct else f"include {made}/conf.d/web.conf;"
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"user nobody nogroup; daemon off; pid {tmp_path}/nginx.pid; events {{}}\n"
        f"http {{ access_log off; {temporary} {upstream}\n"
        f"server {{ listen 127.0.0.1:{port}; include {made}/snippets/web.conf; }} }}\n"
    )
    command = ["nginx", "-p", tmp_path, "-e", tmp_path / "error.log", "-c", configuration]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    with running(command, port):
        # The workers are not in the socket's group: the kernel says no, and nginx says 502.
        assert get(port)[0] == 502
        assert "(13: Permission denied)" in (tmp_path / "error.log").read_text()
        os.chown(path, 0, 65534)
        assert get(port) == ANSWER


def test_caddy(path: Path, tmp_path: Path) -> None:
    packages.need("caddy")
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    generate(tmp_path, "caddy", "web", "--socket", str(path), "--site", site)
    configuration = tmp_path / "Caddyfile"
    configuration.write_text("{\n\tadmin off\n}\nimport made/etc/caddy/conf.d/*.caddy\n")
    known = ["--config", str(configuration), "--adapter", "caddyfile"]
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    # Any user and group, with the supplementary group that the drop-in gives.
    start = ["env", f"HOME={home}", "setpriv", "--reuid=65534", "--regid=65534"]
    groups = [*start, f"--groups={GROUP}", "caddy"]
    subprocess.run([*groups, "validate", *known], check=True, capture_output=True)
    with running([*groups, "run", *known], port):
        assert get(port) == ANSWER
    with running([*start, "--clear-groups", "caddy", "run", *known], port):
        assert get(port)[0] == 502


def test_haproxy_in_its_chroot(path: Path, tmp_path: Path) -> None:
    packages.need("haproxy")
    port = free_port()
    root = tmp_path / "root"
    generate(tmp_path, "haproxy", "web", "--socket", str(path), "--chroot", str(root))
    drop_in = tmp_path / "made/etc/systemd/system/haproxy.service.d/web.conf"
    source, target = drop_in.read_text().split("BindPaths=")[1].strip().split(":")
    assert (source, target) == (str(path.parent), f"{root}{path.parent}")
    Path(target).mkdir(parents=True)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        f"global\n chroot {root}\n uid 65534\n gid {GROUP}\n"
        "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        f"frontend in\n bind 127.0.0.1:{port}\n default_backend web\n"
    )
    made = tmp_path / "made/etc/haproxy/cloister"
    command = ["haproxy", "-db", "-q", "-f", configuration, "-f", made]
    subprocess.run([*command, "-c"], check=True, capture_output=True)
    # What BindPaths= does.
    mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh"]
    with running([*mounted, source, target, *command], port):
        assert get(port) == ANSWER
    with running(command, port):
        assert get(port)[0] == 503, "the socket was seen without the mount"
