"""A supervisor with a quiet application and a loud one, and what the loud one can do.

The loud one has the limits that every application has, but for memory: half of the machine
is what nobody wants to see filled by a test.
"""

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

from cloister.apps.status import AppStatus, ResourceStatus
from cloister.control.client import ControlClient

MEMORY = 512
"""MiB: a fork bomb is not killed for its memory, and a hog soon is."""
LIMITS = f'[apps.loud.limits]\nmemory = "{MEMORY}M"\nswap = "0"\n'

QUIET = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"quiet"})
"""

LOUD = '''
import os, subprocess, sys

SAY = "import os, sys, time\\ndef say(text): print(text, file=sys.stderr, flush=True)\\n"
ATTACKS = {
    "fork bomb": """
said = False
while True:
    try:
        os.fork()
    except OSError as error:
        if not said: say(f"met: fork {error.errno}"); said = True
""",
    "memory hog": """
while True:
    if os.fork() == 0:
        kept = []
        while True: kept.append(bytearray(1 << 20))
    os.wait()
""",
    "fd hog": """
import socket
kept, said = [], False
while True:
    try:
        kept.append(socket.socket(socket.AF_UNIX)); kept.append(open("/dev/null"))
    except OSError as error:
        if not said: say(f"met: open {error.errno}"); said = True
        kept.clear()
""",
    "log flood": """
while True: os.write(1, b"y" * 99 + b"\\\\n")
""",
    "disk filler": """
said = False
while True:
    try:
        with open("/tmp/filler", "wb", buffering=0) as file:
            while True: file.write(bytes(1 << 20))
    except OSError as error:
        if not said: say(f"met: write {error.errno}"); said = True
""",
    "cpu spinner": """
for _ in range(7): os.fork()
while True: pass
""",
}

def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/").replace("-", " ")
    if name in ATTACKS:
        # For as long as this process lives: the attack is the application's own.
        subprocess.Popen([sys.executable, "-c", SAY + ATTACKS[name]])
    start_response("200 OK", [("content-length", "4")])
    return [b"loud"]
'''
ATTACKS = ("fork bomb", "memory hog", "fd hog", "log flood", "disk filler", "cpu spinner")

SAID = {"fd hog": "met: open 24", "disk filler": "met: write 28"}
"""What the kernel tells the attacker: EMFILE, ENOSPC."""


@contextmanager
def both() -> Iterator[Up]:
    """Both applications, ready."""
    with open_folder() as folder:
        up = Up(folder)
        up.write({"quiet": QUIET, "loud": LOUD}, LIMITS)
        up.start()
        try:
            up.wait_ready()
            yield up
        finally:
            up.close()


def attack(up: Up, name: str) -> None:
    """Begin it; returns once it goes on."""
    up.curl("loud.example", f"/{name.replace(' ', '-')}", "--fail")
    wait_until(lambda: has_bitten(up, name), what=f"the limit that stops the {name}", seconds=60)


def has_bitten(up: Up, name: str) -> bool:
    """Whether the attack has come to where it is stopped, or gives way."""
    resources = resources_of_loud(up)
    # A bomb may be killed for its memory soon after: then it was said that it did.
    gives_way = resources.gives_way or "gives way to the others" in up.log_path.read_text(
        errors="replace"
    )
    match name:
        case "fork bomb":
            return resources.counters.pids_refused > 0 and gives_way
        case "memory hog":
            return resources.counters.oom_kills > 0
        case "log flood":
            return "lines lost: more than" in up.log_path.read_text(errors="replace")
        case "cpu spinner":
            return (resources.usage.tasks or 0) >= 100 and gives_way
        case _:
            return SAID[name] in up.log_path.read_text(errors="replace")


def calm(up: Up) -> None:
    """End whatever the loud application does, and have it back as it was."""
    with ControlClient(str(up.runtime / "control.sock")) as client:
        # Not by `restart`: a successor beside it would find the limits used up.
        client.command("loud", "stop")
        wait_until(lambda: loud(up).state == "stopped", what="the end of the loud one", seconds=60)
        client.command("loud", "start")
    wait_until(lambda: loud(up).state == "ready", what="a new loud application", seconds=60)
    up.log_path.open("wb").close()


def loud(up: Up) -> AppStatus:
    return up.app("loud")


def resources_of_loud(up: Up) -> ResourceStatus:
    resources = loud(up).resources
    assert resources is not None
    return resources


@contextmanager
def elsewhere() -> Iterator[None]:
    """Runs the caller as if it were on another machine, where those that ask are: it waits for
    no processor of this one, quiet or not. It takes CAP_SYS_NICE (sched(7))."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@dataclass(frozen=True)
class Latencies:
    """Of single requests, in seconds, ascending."""

    values: tuple[float, ...]

    def percentile(self, share: float) -> float:
        return self.values[min(len(self.values) - 1, int(len(self.values) * share))]


class Visitor:
    """Asks the quiet application, one request after the other."""

    def __init__(self, up: Up) -> None:
        self._context = ssl.create_default_context(cafile=up.authority)
        self._address = ("127.0.0.1", up.port)
        self._socket = self._connect()

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(self._address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected = self._context.wrap_socket(plain, server_hostname="quiet.example")
        connected.settimeout(60)
        return connected

    def ask(self) -> float:
        """One request; the seconds until its whole answer was there."""
        begun = time.perf_counter()
        self._socket.sendall(b"GET / HTTP/1.1\r\nHost: quiet.example\r\n\r\n")
        answer = b""
        while not answer.endswith(b"quiet"):
            received = self._socket.recv(4096)
            assert received, answer
            answer += received
        return time.perf_counter() - begun

    def ask_for(self, seconds: float, pause: float = 0.002) -> Latencies:
        """As many requests as fit into a time, with a pause between them, on one connection:
        the last one's may have been closed for idleness.
        """
        self._socket.close()
        self._socket = self._connect()
        end = time.monotonic() + seconds
        values = []
        with elsewhere():
            while time.monotonic() < end:
                values.append(self.ask())
                time.sleep(pause)
        return Latencies(tuple(sorted(values)))

    def close(self) -> None:
        self._socket.close()
