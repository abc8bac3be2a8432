"""``cloister up``: programs that do not take a listening socket, each behind one all the same."""

import signal
import socket
import threading
from collections.abc import Iterator

import psutil
import pytest
from tests.support.processes import command_line
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

from cloister.apps.status import AppStatus
from cloister.control.client import ControlClient

SERVER = """
import http.server, os, signal, socketserver, sys, threading, time
NAME = os.urandom(8).hex().encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(0.5)
        body = NAME
        if self.path == "/environment":
            body = repr(sorted(k for k in os.environ if k.startswith("LISTEN"))).encode()
            body += repr(sorted(os.listdir("/proc/self/fd"))).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return "-"
    def log_message(self, *arguments):
        pass
class Tcp(http.server.ThreadingHTTPServer):
    daemon_threads = False
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False
    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("-", 0)
kind, place = sys.argv[1:]
assert place == os.environ["PORT" if kind == "port" else "SOCKPATH"]
server = Tcp(("127.0.0.1", int(place)), Handler) if kind == "port" else Unix(place, Handler)
def stop(*_):
    print("told to stop", flush=True)
    threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, stop)
server.serve_forever()
server.server_close()  # waits for the requests under way
"""


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        up = Up(folder)
        yield up
        up.close()


def write(up: Up, command: str, settings: str) -> None:
    folder = up.folder / "apps" / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.py").write_text(SERVER)
    up.config.write_text(
        f'[cloister]\nruntime-directory = "{up.runtime}"\nstate-directory = "{up.state}"\n'
        f'[listeners.plain]\nlisten = "127.0.0.1:0"\n'
        f'route = {{ target = "unix:{up.runtime}/apps/plain/socket" }}\n'
        f'[apps.plain]\ncommand = {command}\ndirectory = "{folder}"\nready-timeout = "20s"\n'
        f'stop-timeout = "8s"\n{settings}\n'
    )


def serve(up: Up, kind: str, settings: str = "") -> None:
    place = {"port": "{port}", "bind": "{socket}"}[kind]
    script = up.folder / "apps" / "plain" / "server.py"
    write(up, f'["python3", "{script}", "{kind}", "{place}"]', f'endpoint = "{kind}"\n{settings}')
    up.start()
    up.wait_ready()


def get(up: Up, path: str = "/") -> bytes:
    with socket.create_connection(("127.0.0.1", up.port), timeout=30) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK"), received
    return body


def ask(up: Up, verb: str) -> AppStatus:
    with ControlClient(str(up.runtime / "control.sock")) as client:
        return client.command("plain", verb)


KINDS = pytest.mark.parametrize("kind", ["port", "bind"])


@KINDS
def test_it_is_served_and_knows_nothing_of_the_listening_socket(up: Up, kind: str) -> None:
    serve(up, kind)
    first = get(up)
    assert get(up) == first
    assert get(up, "/environment").startswith(b"[]")
    # Nothing of it listens outside its cell.
    assert not (up.runtime / "apps" / "plain" / "cloister.socket").exists()
    ports = {
        one.laddr.port
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr
    }
    assert 8080 not in ports
    assert up.stop() == 0
    assert "told to stop" in up.said("plain")


@pytest.mark.parametrize(
    ("kind", "ready"),
    [
        ("port", "accept"),
        pytest.param("bind", "accept", marks=pytest.mark.slow),
        pytest.param("port", "http:/", marks=pytest.mark.slow),
        pytest.param("bind", "http:/", marks=pytest.mark.slow),
    ],
)
def test_a_restart_loses_no_request(up: Up, kind: str, ready: str) -> None:
    serve(up, kind, f'ready = "{ready}"')
    answers: set[bytes] = set()
    failures: list[BaseException] = []
    over = threading.Event()
    count = 0

    def traffic(path: str) -> None:
        nonlocal count
        while not over.is_set():
            try:
                answers.add(get(up, path))
                count += 1
            except BaseException as error:  # noqa: BLE001 - counted
                failures.append(error)
                return

    threads = [threading.Thread(target=traffic, args=(path,)) for path in ("/", "/", "/slow")]
    for thread in threads:
        thread.start()
    for generation in range(1, 3):
        ask(up, "restart")
        wait_until(
            lambda generation=generation: (
                (len(answers) > generation and count > 10 * generation) or failures
            ),
            what="enough answers, of the next one too",
            seconds=60,
        )
    over.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert up.app("plain").state == "ready"


@pytest.mark.slow
def test_the_program_s_own_end_is_told(up: Up) -> None:
    serve(up, "port", "port = 4321")
    process = psutil.Process(up.app("plain").pid)
    below = {one: command_line(one) for one in process.children(recursive=True)}
    (program,) = [
        one
        for one, words in below.items()
        if "server.py" in " ".join(words) and "cloister.apps.shim" not in words
    ]
    program.send_signal(signal.SIGKILL)
    wait_until(lambda: up.app("plain").failure, what="its failure", seconds=30)
    failure = up.app("plain").failure
    assert failure is not None
    assert failure.message == "ended by itself (killed by SIGKILL)"
    up.wait_ready()
    get(up)


@pytest.mark.slow
def test_a_relay_that_dies_takes_the_program_along(up: Up) -> None:
    serve(up, "bind")
    process = psutil.Process(up.app("plain").pid)
    relay = next(one for one in process.children(recursive=True) if "relay" in command_line(one))
    relay.kill()
    wait_until(lambda: up.app("plain").restarts == 1, what="its restart", seconds=30)
    up.wait_ready()
    get(up)
    assert any("the relay has ended" in line for line in up.said("plain"))


def connect(up: Up) -> socket.socket:
    return socket.create_connection(("127.0.0.1", up.port), timeout=30)


def read(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received


def test_a_connection_is_standard_input_and_output(up: Up) -> None:
    script = 'read line; echo "got $line as $(id -u) in $PWD"; echo noise >&2'
    write(up, f"""["sh", "-c", '{script}']""", 'endpoint = "stdio"')
    up.start()
    up.wait_ready()
    with connect(up) as client:
        client.sendall(b"hello\n")
        answer = read(client)
    assert answer.startswith(b"got hello as ")
    assert b" as 0 in" not in answer
    wait_until(lambda: "noise" in up.said("plain"), what="its standard error", seconds=30)
    assert up.app("plain").processes == ()


def test_no_more_connections_at_once_than_allowed_and_the_others_wait(up: Up) -> None:
    write(up, '["cat"]', 'endpoint = "stdio"\nprocesses = 2')
    up.start()
    up.wait_ready()
    clients = [connect(up) for _ in range(3)]
    for number, client in enumerate(clients):
        client.sendall(b"%d\n" % number)
    assert clients[0].recv(10) == b"0\n"
    assert clients[1].recv(10) == b"1\n"
    clients[2].settimeout(0.3)
    with pytest.raises(TimeoutError):
        clients[2].recv(10)
    assert len(up.app("plain").processes) == 2
    clients[0].close()
    clients[2].settimeout(30)
    assert clients[2].recv(10) == b"2\n"
    for client in clients:
        client.close()
    wait_until(lambda: up.app("plain").processes == (), what="their end", seconds=30)


def test_a_program_that_cannot_be_made_is_given_up(up: Up) -> None:
    write(up, '["cat"]', 'endpoint = "stdio"\nrestart = { failures = 2 }')
    config = up.config.read_text()
    broken = up.folder / "apps" / "plain" / "broken"
    broken.write_text("#!/of/no/interpreter\n")
    broken.chmod(0o755)
    up.config.write_text(config.replace('["cat"]', f'["{broken}"]'))
    up.start()
    wait_until(lambda: _listens(up), what="its socket", seconds=30)
    for _ in range(2):
        with connect(up) as client:
            assert read(client) == b""
    wait_until(lambda: up.app("plain").state == "failed", what="the end", seconds=30)
    failure = up.app("plain").failure
    assert failure is not None
    assert failure.message.startswith("given up after 2 failures")


def _listens(up: Up) -> bool:
    try:
        return up.status().door.state == "ready"
    except Exception:  # noqa: BLE001 - it is starting
        return False
