"""A link by the name of another program takes that one's place."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartRelay
from tests.support.door import connect, program
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer
from tests.support.relay import Target

HELLO = Hello(b"one.example").records()


@pytest.fixture
def link(open_folder: Path) -> Callable[[str], Path]:
    """Makes a symbolic link to the program."""

    def make(name: str) -> Path:
        (open_folder / name).symlink_to(program())
        return open_folder / name

    return make


def test_sniproxy_without_arguments(
    link: Callable[[str], Path], listening: socket.socket, hosts: HostsDirectory
) -> None:
    """As inetd starts it: the socket is its standard input, the hosts directory its working
    directory, and its only word its name."""
    place = link("sniproxy")
    with hosts.listen("one.example") as target:
        process = subprocess.Popen(
            ["sniproxy"],
            executable=place,
            cwd=hosts.path,
            stdin=listening.fileno(),
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                with Peer(connect(listening)) as client:
                    client.send(HELLO)
                    with target.accept() as served:
                        assert served.receive(len(HELLO)) == HELLO
                        served.send(b"answer")
                        assert client.receive(6) == b"answer"
                process.send_signal(signal.SIGHUP)
                assert process.wait(10) == 0
            finally:
                process.kill()


def test_socket_proxyd_with_its_own_flags(
    link: Callable[[str], Path],
    start_relay: StartRelay,
    make_target: Callable[[str], Target],
) -> None:
    target = make_target("tcp")
    flags = ["--connections-max=5", "--exit-idle-time=2s"]
    command = [str(link("systemd-socket-proxyd"))]
    relay = start_relay(*flags, target.text, command=command)
    client = relay.connect()
    client.send(b"question")
    server = target.accept()
    assert server.receive(8) == b"question"
    server.send(b"answer")
    assert client.receive(6) == b"answer"
    arguments = Path(f"/proc/{relay.pid}/cmdline").read_bytes().split(b"\0")
    assert arguments[:-1] == [os.fsencode(text) for text in [*command, *flags, target.text]]
    client.close()
    server.close()
    assert relay.wait() == 0, relay.messages


@pytest.mark.parametrize("name", ["cloister-door-1.0", "sni", "sniproxy.old"])
def test_any_other_name_changes_nothing(link: Callable[[str], Path], name: str) -> None:
    result = subprocess.run([link(name)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "no command given" in result.stderr
