"""kill -9 of the supervisor: applications and door go on, and the next one takes them over."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support import keyed
from tests.support.hello import Hello
from tests.support.keyed import Outcome
from tests.support.load import Load
from tests.support.open_python import open_python
from tests.support.ordinary_user import need_user_namespaces
from tests.support.up import SITES, Client, Traces, Up, have_ended, open_folder
from tests.support.waiting import wait_until

HELLO = Hello(b"keyed.example").records()
FEW = 4
MANY = 200


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


def serve_keyed(up: Up, extra: str = "") -> None:
    """One application that speaks keyed conversations, behind the door."""
    directory = up.folder / "apps" / "keyed"
    directory.mkdir(parents=True)
    (directory / "keyed.py").write_text(Path(keyed.__file__).read_text())
    up.write(
        {},
        f'[apps.keyed]\ncommand = ["/usr/bin/python3", "{directory}/keyed.py"]\n'
        f'directory = "{directory}"\nhosts = ["keyed.example"]\nready = "accept"\n{extra}\n',
    )
    up.start()
    up.wait_ready()


@pytest.mark.parametrize(
    "count", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_killing_the_supervisor_under_load_fails_nobody(up: Up, count: int) -> None:
    """Nobody: not those who connect, not those whose conversation goes on meanwhile."""
    serve_keyed(up)
    before = up.status()
    address = ("127.0.0.1", up.port)
    clients = Load(lambda: socket.create_connection(address, 10), preface=HELLO, clients=4)
    for _ in range(count):
        up.kill()
        clients.wait_progress(2)
        up.start()
        after = up.wait_ready()
        assert after.apps[0].pid == before.apps[0].pid
        assert after.door.pid == before.door.pid
        assert after.listeners[0].address == before.listeners[0].address
        clients.wait_progress(2)
    outcomes = clients.stop()
    assert outcomes == {Outcome.COMPLETE: outcomes.total()}, clients.failures[:5]
    status = up.status()
    assert (status.door.restarts, status.door.replacements, status.door.draining) == (0, 0, 0)
    assert status.apps[0].traffic is not None
    assert status.apps[0].traffic.accepted == outcomes.total()
    assert len(up.holders()) == 1
    assert up.stop() == 0


def test_an_ordinary_users_supervisor_is_taken_over_too() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to run a supervisor as another user")
    need_user_namespaces()
    with open_folder() as folder:
        up = Up(folder)
        up.python, up.user = open_python(folder), 54321
        os.chown(folder, up.user, up.user)
        try:
            serve_keyed(up)
            before = up.status()
            assert before.rootless
            assert before.apps[0].pid is not None
            assert psutil.Process(before.apps[0].pid).uids().real == up.user
            address = ("127.0.0.1", up.port)
            clients = Load(lambda: socket.create_connection(address, 10), preface=HELLO, clients=2)
            for _ in range(2):
                up.kill()
                clients.wait_progress(2)  # what runs serves on without any supervisor
                up.start()
                after = up.wait_ready()
                assert after.apps[0].pid == before.apps[0].pid
                assert after.door.pid == before.door.pid
                clients.wait_progress(2)
            outcomes = clients.stop()
            assert outcomes == {Outcome.COMPLETE: outcomes.total()}, clients.failures[:5]
            family = up.family()
            assert up.stop() == 0
            wait_until(lambda: have_ended(family), what="the end of every process")
        finally:
            up.close()


def test_an_open_conversation_goes_on_and_nothing_is_left_after_a_stop(up: Up) -> None:
    before = Traces(up.folder, ignore=("state", "log", "apps", "cloister.toml"))
    serve_keyed(up)
    with socket.create_connection(("127.0.0.1", up.port), 10) as client:
        conversation = keyed.Conversation(7, up=100, down=5)
        client.sendall(HELLO + conversation.header() + keyed.piece(7, 0, 50))
        assert client.recv(5, socket.MSG_WAITALL) == keyed.piece(7 ^ 0x5555, 0, 5)
        up.kill()
        up.start()
        up.wait_ready()
        client.sendall(keyed.piece(7, 50, 50))
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"verdict: good\r\n\x00"
    family = up.family()
    assert up.stop() == 0
    wait_until(lambda: have_ended(family), what="the end of every process")
    if up.runtime.exists():
        assert list(up.runtime.iterdir()) == []
        up.runtime.rmdir()
        up.runtime.parent.rmdir()
    assert Traces(up.folder, ignore=("state", "log", "apps", "cloister.toml")) == before


TELLING = SITES["two"] + (
    "import sys, threading, time\n"
    "def tell():\n"
    "    for number in range(1_000_000):\n"
    "        print('line', number, flush=True)\n"
    "        time.sleep(0.01)\n"
    "threading.Thread(target=tell, daemon=True).start()\n"
)


def test_what_an_application_prints_is_kept_and_never_ends_it(up: Up) -> None:
    up.write({"two": TELLING})
    up.start("--log-format", "json")
    pid = up.wait_ready().apps[0].pid
    wait_until(lambda: "line 3" in up.said("two"), what="output")
    up.kill()
    last = int(up.said("two")[-1].removeprefix("line "))
    up.start("--log-format", "json")
    up.wait_ready()
    wait_until(lambda: f"line {last + 100}" in up.said("two"), what="its output", seconds=30)
    numbers = [int(text.split()[1]) for text in up.said("two") if text.startswith("line ")]
    # What was in the dead one's hands at that moment is lost, and no more.
    assert numbers[0] - last < 20
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert up.app("two").pid == pid


def test_what_died_meanwhile_is_made_anew_and_whoever_came_has_waited(up: Up) -> None:
    up.write(SITES)
    up.start()
    status = up.wait_ready()
    client = Client(up, "two.example")
    up.kill()
    assert status.door.pid is not None
    assert status.apps[1].pid is not None
    os.kill(status.door.pid, signal.SIGKILL)
    os.kill(status.apps[1].pid, signal.SIGKILL)
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(client.get()))
    asking.start()  # in the queue of a listening socket that nobody accepts from
    up.start()
    after = up.wait_ready()
    asking.join(30)
    assert answers == [b"wsgi https /"]
    assert after.apps[0].pid == status.apps[0].pid
    assert after.apps[1].pid != status.apps[1].pid
    assert up.stop() == 0


def test_a_killed_holder_is_followed_by_another_one(up: Up) -> None:
    up.write(SITES)
    up.start()
    before = up.wait_ready()
    (first,) = up.holders()
    first.kill()
    wait_until(lambda: [one for one in up.holders() if one != first], what="another holder")
    wait_until(lambda: any("another starts" in text for text in up.said("cloister")), what="a word")
    up.kill()
    up.start()
    after = up.wait_ready()
    assert [app.pid for app in after.apps] == [app.pid for app in before.apps]
    assert after.door.pid == before.door.pid
    assert up.stop() == 0


def test_where_both_are_killed_nothing_runs_on_and_the_next_one_begins_anew(up: Up) -> None:
    up.write(SITES)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = up.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}")
    up.config.write_text(text)
    up.start()
    before = up.wait_ready()
    family = up.family()
    holders = up.holders()
    up.kill()
    for holder in holders:
        holder.kill()
    # At once: the last ones are still about to end.
    up.start()
    after = up.wait_ready()
    assert up.port == port
    assert after.door.pid != before.door.pid
    wait_until(lambda: have_ended(family), what="the end of every process", seconds=30)
    assert Client(up, "two.example").get() == b"wsgi https /"
    assert up.stop() == 0


def test_a_process_that_was_not_kept_yet_ends_with_its_supervisor(up: Up) -> None:
    """It is stopped in the midst of making one, and killed there."""
    up.write({"slow": "import time\ntime.sleep(1000)\n"})
    up.start()
    assert up.process is not None
    main = psutil.Process(up.process.pid)

    def cell() -> list[psutil.Process]:
        return [one for one in main.children() if one.name() == "cloister-cell"]

    wait_until(cell, what="a cell", seconds=30)
    family = cell()
    up.kill()
    up.start()
    up.wait_ready("none of them")
    wait_until(lambda: up.app("slow").state == "starting", what="its start", seconds=30)
    running = up.app("slow").pid
    # Either that one goes on, or it has ended and another one was made: never both.
    wait_until(
        lambda: all(one.pid == running or have_ended([one]) for one in family), what="one of it"
    )


def test_an_earlier_version_serves_until_the_next_one_does(up: Up) -> None:
    """The configuration was edited after a stop of everything but what ran: --from-file."""
    up.write(SITES)
    up.start()
    before = up.wait_ready()
    client = Client(up, "one.example")
    up.kill()
    up.config.write_text(up.config.read_text().replace('"5s"', '"6s"', 1))
    up.start("--from-file")
    after = up.wait_ready()
    assert client.get().startswith(b"asgi")
    assert after.apps[0].pid != before.apps[0].pid
    assert after.apps[1].pid == before.apps[1].pid
    old = before.apps[0].pid
    assert old is not None
    wait_until(
        lambda: have_ended([psutil.Process(old)]) if psutil.pid_exists(old) else True,
        what="the end of the earlier one",
        seconds=30,
    )
    assert up.stop() == 0


def test_an_application_that_is_configured_no_more_ends(up: Up) -> None:
    up.write(SITES)
    up.start()
    family = [psutil.Process(app.pid) for app in up.wait_ready().apps if app.pid]
    up.kill()
    up.write({"one": SITES["one"]})
    up.start("--from-file")
    status = up.wait_ready()
    assert status.apps[0].pid == family[0].pid
    wait_until(lambda: have_ended(family[1:]), what="its end", seconds=30)
    assert not (up.runtime / "apps" / "two" / "socket").exists()
    assert up.stop() == 0


def test_a_supervisor_that_cannot_begin_leaves_everything_as_it_is(up: Up) -> None:
    up.write(SITES)
    up.start()
    before = up.wait_ready()
    client = Client(up, "two.example")
    up.kill()
    good = up.config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up.config.write_text(good + f'[listeners.other]\nlisten = "127.0.0.1:{port}"\n')
        up.start("--from-file")
        assert up.process is not None
        assert up.process.wait(60) != 0
    assert client.get() == b"wsgi https /"
    up.config.write_text(good)
    up.start()
    after = up.wait_ready()
    assert [app.pid for app in after.apps] == [app.pid for app in before.apps]
    assert up.stop() == 0


def test_the_holder_gives_nothing_to_others(up: Up) -> None:
    up.write(SITES)
    up.start()
    up.wait_ready()
    path = up.runtime / "holder.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    up.kill()
    (holder,) = up.holders()
    status = Path(f"/proc/{holder.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0
    assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")
    path.chmod(0o666)  # somebody has opened it by mistake
    if os.geteuid() == 0:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgid(54321)
                os.setuid(54321)
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
                    stranger.settimeout(60)
                    stranger.connect(str(path))
                    stranger.send(b'{"type":"list"}')
                    code = 0 if stranger.recv(4096) == b"" else 2
            except (BrokenPipeError, ConnectionResetError):
                code = 0  # it may close before the message is sent
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as owner:
        owner.settimeout(60)
        owner.connect(str(path))
        owner.send(b'{"type":"list"}')
        assert owner.recv(4096).startswith(b'{"type":"kept"')
