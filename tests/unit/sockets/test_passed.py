"""Sockets that were passed: in a process of their own, since their numbers begin at 3."""

import os
import secrets
import socket
import subprocess
import sys
import textwrap

import pytest

from cloister.sockets.passed import PassedSockets

BEGIN = """
import os, socket
from cloister.model.listener import TcpAddress, UnixAddress
from cloister.sockets.passed import PassedSockets
os.environ["LISTEN_PID"] = str(os.getpid())
passed = PassedSockets()
"""


def in_process(code: str, *descriptors: int, names: str = "") -> str:
    """What ``code`` prints where these descriptors are 3, 4, …"""
    moves = " ".join(f"{203 + n}<&{number}" for n, number in enumerate(descriptors))
    places = " ".join(f"{3 + n}<&{203 + n}" for n in range(len(descriptors)))
    script = f'exec {moves}; exec {places}; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-c", BEGIN + textwrap.dedent(code)],
        pass_fds=descriptors,
        env={**os.environ, "LISTEN_FDS": str(len(descriptors)), "LISTEN_FDNAMES": names},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_each_goes_to_its_address_once() -> None:
    name = f"cloister-test-{secrets.token_hex(6)}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as tcp6,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind(f"\0{name}")
        abstract.listen()
        port, port6 = tcp.getsockname()[1], tcp6.getsockname()[1]
        answer = in_process(
            f"""
            one = passed.take(TcpAddress("127.0.0.1", {port}))
            print(one.getblocking(), os.get_inheritable(one.fileno()))
            print(passed.take(TcpAddress("127.0.0.1", {port})))
            print(passed.take(TcpAddress("127.0.0.2", {port})), passed.take(TcpAddress("::1", 0)))
            print(passed.take(TcpAddress("::1", {port6})) is not None)
            print(passed.take(UnixAddress("{name}")))
            print(passed.take(UnixAddress("{name}", abstract=True)) is not None)
            """,
            tcp.fileno(),
            tcp6.fileno(),
            abstract.fileno(),
        )
    assert answer.split("\n") == ["False False", "None", "None None", "True", "None", "True"]


def test_what_nobody_takes_is_closed_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        answer = in_process(
            "print(passed.close()); print(passed.close())",
            one.fileno(),
            two.fileno(),
            names="https.0:old.1",
        )
    assert answer == "('https.0', 'old.1')\n()"


def test_what_does_not_listen_is_left_out() -> None:
    one, other = socket.socketpair()
    with one, other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert in_process("print(passed.close())", one.fileno(), datagrams.fileno()) == "()"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "-1", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_nothing_is_taken_that_is_not_meant_for_this_process(environment: dict[str, str]) -> None:
    assert PassedSockets(environment).close() == ()
