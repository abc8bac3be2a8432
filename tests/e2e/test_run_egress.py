"""`cloister run --egress`, by root and by an ordinary user: what is listed answers, and nothing
else does."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.open_python import open_python
from tests.support.ordinary_user import need_user_namespaces
from tests.support.ping import DIAL, backend, host_address
from tests.support.up import have_ended, open_folder
from tests.support.waiting import wait_until

USER = 487_301
"""An ordinary user, whom nothing else belongs to."""
DEADLINE = 60.0
DIALS = f"""{DIAL}
import json, sys
print(json.dumps([dial(place) for place in json.loads(sys.argv[1])]))
"""


@dataclass
class Caller:
    """Who runs commands."""

    python: str
    folder: Path
    user: int | None

    def command(self, *words: str) -> tuple[list[str], dict[str, Any]]:
        state = {"STATE_DIRECTORY": str(self.folder / "state"), "HOME": str(self.folder)}
        options: dict[str, Any] = {
            "env": {**os.environ, **state},
            "cwd": self.folder,
            "stdin": subprocess.DEVNULL,
        }
        if self.user is not None:
            options |= {"user": self.user, "group": self.user, "extra_groups": []}
        return [self.python, "-m", "cloister", "run", *words], options

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command, options = self.command(*words)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE, check=False, **options
        )

    def dial(self, ways: list[str], *places: object) -> list[object]:
        """What each place answers to a command with these ways out."""
        options = [word for way in ways for word in ("--egress", way)]
        done = self.run(*options, "--", "python3", "-c", DIALS, json.dumps(places))
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, list)
        return found


@pytest.fixture(params=["root", "ordinary user"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    with open_folder() as folder:
        if request.param == "root":
            if os.geteuid() != 0:
                pytest.skip("needs root")
            yield Caller(sys.executable, folder, None)
        elif os.geteuid() != 0:
            yield Caller(sys.executable, folder, None)
        else:
            need_user_namespaces()
            os.chown(folder, USER, USER)
            yield Caller(open_python(folder), folder, USER)


def test_what_is_listed_answers_and_nothing_else(caller: Caller) -> None:
    with backend() as port, backend() as other:
        ways = [
            f'{{ name = "db.internal", port = 5432, to = "localhost:{port}" }}',
            f'{{ socket = "/run/db.sock", to = "127.0.0.1:{port}" }}',
        ]
        own = host_address()
        found = caller.dial(
            ways,
            ("db.internal", 5432),
            "/run/db.sock",
            ("127.0.0.1", port),
            ("127.0.0.1", other),
            ("db.internal", other),
            ("127.0.1.2", 5432),
            ("other.internal", 5432),
            "/run/other.sock",
            ("192.0.2.1", port),
            (own or "192.0.2.1", port),
        )
        assert found == [
            "pong to ping",
            "pong to ping",
            *[errno.ECONNREFUSED] * 4,
            "no such name",
            errno.ENOENT,
            *[errno.ENETUNREACH] * 2,
        ]
        # None listed means none.
        nothing = caller.dial([], ("db.internal", 5432), "/run/db.sock", ("127.0.1.1", 5432))
        assert nothing == ["no such name", errno.ENOENT, errno.ECONNREFUSED]
    assert not Path("/run/db.sock").exists()


def test_the_socket_stays_what_it_is(caller: Caller) -> None:
    """Whoever could put another one in its place would be dialled instead."""
    attempts = (
        "rm /run/db.sock; ln -sf /tmp/x /run/db.sock; mv /run/db.sock /run/x; "
        "touch /run/new; test -S /run/db.sock && stat -c '%a %u' /run/db.sock; id -u"
    )
    way = '{ socket = "/run/db.sock", to = "127.0.0.1:1" }'
    done = caller.run("--egress", way, "--", "sh", "-c", attempts)
    mode, owner, user = done.stdout.split()
    assert (mode, owner) == ("600", user)
    assert done.stderr.count("Read-only file system") == 4, done.stderr


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/tmp", "something is there already"),
        ("/usr/db.sock", "such as /run"),
        ("/etc/hosts", "something is there already"),
        ("/bin", "something is there already"),
    ],
)
def test_nothing_that_is_there_is_replaced(caller: Caller, path: str, what: str) -> None:
    if path == "/bin" and not Path(path).is_symlink():
        pytest.skip("/bin is no link here")
    done = caller.run("--egress", f'{{ socket = "{path}", to = "a:1" }}', "--", "true")
    assert done.returncode != 0
    assert what in done.stderr
    assert path in done.stderr


def test_a_destination_that_is_not_there_is_said(caller: Caller) -> None:
    place = caller.folder / "nobody"
    way = f'{{ name = "db", port = 1, to = "unix:{place}" }}'
    done = caller.run("--egress", way, "--", "python3", "-c", DIALS, '[["db", 1]]')
    assert done.returncode == 0
    assert json.loads(done.stdout) in (["ConnectionResetError"], [errno.ECONNRESET], [""])
    assert f"cloister: nothing came of a connection to db:1 (unix:{place}): " in done.stderr


def test_the_door_ends_with_the_command_however_that_ends(caller: Caller) -> None:
    with backend() as port:
        way = f'{{ name = "db", port = 1, to = "127.0.0.1:{port}" }}'
        held = (
            "import socket; line = socket.create_connection(('db', 1)); line.sendall(b'x');"
            "print('held', flush=True); line.recv(1)"
        )
        command, options = caller.command("--egress", way, "--", "python3", "-c", held)
        for end in ("terminate", "kill"):
            with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as running:
                assert running.stdout is not None
                assert running.stdout.readline() == b"held\n"
                family = psutil.Process(running.pid).children(recursive=True)
                assert "cloister-door" in {one.name() for one in family}
                getattr(running, end)()
                running.wait(DEADLINE)
            wait_until(lambda family=family: have_ended(family), what="the end of all", seconds=60)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--egress", "10.0.0.1:1"), '"10.0.0.1:1" has no name'),
        (("--egress", "a:1", "--share", "network"), "whatever the host reaches"),
        (("--egress", "{ to = "), "--egress: "),
        (("--egress", "a:1\n[apps.b]"), "--egress: "),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], what: str) -> None:
    with open_folder() as folder:
        done = Caller(sys.executable, folder, None).run(*words, "--", "true")
    assert done.returncode == 2
    assert what in done.stderr
