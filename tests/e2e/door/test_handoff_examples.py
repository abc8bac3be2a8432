"""The examples in C and Rust, built as their first lines say, take what a door hands off."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.door import Door
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, wait_for_socket
from tests.support.streams import Stream
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
HELLO = Hello(b"one.example").records()

Run = Callable[[Path], Path]


@pytest.fixture
def run(hosts: HostsDirectory, tmp_path: Path) -> Iterator[Run]:
    """Runs a program on the handoff socket of one.example; gives what it writes."""
    running: list[subprocess.Popen[bytes]] = []

    def start(program: Path) -> Path:
        path = hosts.folder("one.example") / "handoff-socket"
        with (tmp_path / "output").open("wb") as output:
            running.append(subprocess.Popen([program, path], stdout=output, stderr=output))
        wait_for_socket(path)
        wait_until(lambda: path.stat().st_mode & 0o002, what="a socket that the door may use")
        return tmp_path / "output"

    yield start
    for process in running:
        assert process.poll() is None, "it has ended"
        process.kill()
        process.wait()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_example_in_c(run: Run, door: Door, tmp_path: Path) -> None:
    program = tmp_path / "handoff"
    source = EXAMPLES / "handoff-c" / "handoff.c"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", program, source], check=True, timeout=60)
    run(program)
    for _ in range(3):
        with door.connect() as client:
            client.send(HELLO)
            client.finish()
            host, port = client.address
            answer = client.receive_rest().decode()
            assert answer == f"one.example {host} {port} {HELLO[:16].hex()}\n"


@pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo")
def test_the_example_in_rust(run: Run, door: Door, tmp_path: Path) -> None:
    folder = EXAMPLES / "handoff-rust"
    target = EXAMPLES.parent / "target" / "examples"
    command = ["cargo", "build", "--locked", "--quiet", "--target-dir", target]
    subprocess.run([*command, "--manifest-path", folder / "Cargo.toml"], check=True, timeout=110)
    output = run(target / "debug" / "handoff-echo")
    length = 2_000_000
    with door.connect() as client:
        sent = HELLO + Stream(5).read(length)

        def send() -> None:
            client.send(sent)
            client.finish()

        sender = threading.Thread(target=send)
        sender.start()
        try:
            assert client.receive_rest() == sent
        finally:
            sender.join()
        host, port = client.address
        wait_until(lambda: f"{host}:{port} one.example\n" in output.read_text(), what="its word")
