"""The running configuration is exchanged: what stays the same notices nothing, a refused
change changes nothing, and nobody's connection fails."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import keyed
from tests.support.hello import Hello
from tests.support.keyed import Outcome
from tests.support.load import Load
from tests.support.up import SITES, Client, Up, open_folder
from tests.support.waiting import wait_until

from cloister.model.errors import CloisterError, ConfigError

HELLO = Hello(b"keyed.example").records()


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


def keyed_app(up: Up, name: str = "keyed", extra: str = "") -> str:
    """The settings of an application that speaks keyed conversations."""
    directory = up.folder / "apps" / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "keyed.py").write_text(Path(keyed.__file__).read_text())
    return (
        f'[apps.{name}]\ncommand = ["/usr/bin/python3", "{directory}/keyed.py"]\n'
        f'directory = "{directory}"\nhosts = ["{name}.example"]\nready = "accept"\n{extra}\n'
    )


def test_what_is_the_same_is_not_touched(up: Up) -> None:
    up.write(SITES)
    up.start()
    before = up.wait_ready()
    up.write({"two": SITES["two"], "three": SITES["one"]})
    changed = up.apply()
    assert changed.version == 2
    assert changed.text == up.config.read_text()
    after = up.wait_ready()
    assert [app.name for app in after.apps] == ["two", "three"]
    assert after.apps[0].pid == before.apps[1].pid
    assert after.door.pid == before.door.pid
    assert after.listeners[0].address == before.listeners[0].address
    assert Client(up, "two.example").get() == b"wsgi https /"
    assert Client(up, "three.example").get().startswith(b"asgi https / ")
    with pytest.raises(OSError):  # noqa: PT011 - the alert for an unknown name
        Client(up, "one.example").get()
    wait_until(lambda: not (up.runtime / "apps" / "one").exists(), what="its end", seconds=30)
    assert up.stop() == 0
    assert not up.runtime.exists()


def test_a_refused_change_changes_nothing(up: Up) -> None:
    up.write(SITES)
    up.start()
    before = up.wait_ready()
    text = up.config.read_text()
    with pytest.raises(ConfigError) as raised:
        up.apply(text + '[listeners.other]\nlisten = "127.0.0.1:0"\nsurprise = 1\n[apps.one]\n')
    assert raised.value.problems
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = up.folder / "other.sock"
        listeners = (
            f'[listeners.first]\nlisten = "unix:{other}"\n'
            f'[listeners.second]\nlisten = "127.0.0.1:{port}"\n'
        )
        with pytest.raises(CloisterError, match="is in use"):
            up.apply(text.replace("[apps.one]", f"{listeners}[apps.three]"))
    assert not other.exists()
    with pytest.raises(CloisterError, match="paths cannot be changed"):
        up.apply(text.replace(str(up.state), f"{up.state}-other"))
    hosts = f'[listeners.hosts]\nlisten = "127.0.0.1:0"\nroute = {{ hosts = "{up.folder}" }}\n'
    (up.folder / "gone").mkdir()
    after = up.status()
    assert [app.pid for app in after.apps] == [app.pid for app in before.apps]
    assert after.listeners == before.listeners
    assert after.door.generation == before.door.generation
    assert up.configuration().version == 1
    assert sorted(path.name for path in (up.runtime / "apps").iterdir()) == ["one", "two"]
    assert up.apply(text + hosts).version == 2


def test_versions_under_load_fail_nobody(up: Up) -> None:
    """Each change replaces the application, moves a name and opens or closes a listener."""
    up.write({}, keyed_app(up))
    up.start()
    up.wait_ready()
    address = ("127.0.0.1", up.port)
    clients = Load(lambda: socket.create_connection(address, 10), preface=HELLO, clients=4)
    pids = {up.app("keyed").pid}
    for number in range(8):
        spare = f'[listeners.spare]\nlisten = "unix:{up.folder}/spare.sock"\n' * (number % 2)
        environment = f'environment = {{ NUMBER = "{number}" }}'
        up.write({}, spare + keyed_app(up, extra=environment))
        up.apply()
        wait_until(
            lambda: up.app("keyed").pid not in {None, *pids}, what="another version", seconds=60
        )
        up.wait_ready()
        pids.add(up.app("keyed").pid)
        clients.wait_progress(5)
        assert (up.folder / "spare.sock").exists() == bool(number % 2)
    outcomes = clients.stop()
    assert outcomes == {Outcome.COMPLETE: outcomes.total()}, clients.failures[:5]
    assert up.status().door.restarts == 0
    assert up.stop() == 0


def test_the_old_version_serves_until_the_next_one_can(up: Up) -> None:
    up.write(SITES)
    up.start()
    old = up.wait_ready().apps[0].pid
    assert old is not None
    good = up.config.read_text()
    code = up.folder / "apps" / "one" / "web.py"
    code.write_text("import nothing_of_that_name\n")
    up.apply(good.replace('"5s"', '"6s"', 1))
    wait_until(lambda: up.app("one").failure is not None, what="a failure", seconds=30)
    # A process of the old version still takes connections.
    assert Client(up, "one.example").get().startswith(b"asgi")
    code.write_text(SITES["one"])
    up.apply(good.replace('"5s"', '"7s"', 1))
    up.wait_ready()
    wait_until(lambda: not Path(f"/proc/{old}").exists(), what="the end of the old one", seconds=30)
    assert Client(up, "one.example").get().startswith(b"asgi")
    assert up.stop() == 0


def test_what_a_door_cannot_take_on_gets_another_door(up: Up) -> None:
    up.write({}, keyed_app(up))
    up.start()
    first = up.wait_ready().door.pid
    with socket.create_connection(("127.0.0.1", up.port), 10) as client:
        conversation = keyed.Conversation(7, up=100, down=5)
        client.sendall(HELLO + conversation.header() + keyed.piece(7, 0, 50))
        assert client.recv(5, socket.MSG_WAITALL) == keyed.piece(7 ^ 0x5555, 0, 5)
        up.config.write_text("[door]\nworkers = 3\n" + up.config.read_text())
        up.apply()
        status = up.status()
        assert (status.door.workers, status.door.replacements) == (3, 1)
        assert status.door.pid != first
        client.sendall(keyed.piece(7, 50, 50))
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"verdict: good\r\n\x00"
    assert up.stop() == 0


def test_a_listening_sockets_mode_changes_in_place(up: Up) -> None:
    path = up.folder / "web.sock"
    listener = f'[listeners.web]\nlisten = "unix:{path}"\nsocket = {{ mode = "0600" }}\n'
    up.write(SITES, listener)
    up.start()
    up.wait_ready()
    inode = path.stat().st_ino
    assert path.stat().st_mode & 0o777 == 0o600
    up.apply(up.config.read_text().replace('"0600"', '"0666"'))
    assert (path.stat().st_mode & 0o777, path.stat().st_ino) == (0o666, inode)
    up.apply(up.config.read_text().replace(listener, ""))
    assert not path.exists()


def test_sighup_takes_an_edited_file_and_refuses_a_broken_one(up: Up) -> None:
    up.write(SITES)
    up.start()
    door = up.wait_ready().door.pid
    assert up.process is not None
    good = up.config.read_text()
    up.config.write_text("[listeners.https]\nlisten = 7\n")
    up.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: any("stays as it is" in text for text in up.said("cloister")), what="a refusal"
    )
    assert up.status().door.pid == door
    assert f"{up.config}:2 listeners.https.listen" in " ".join(up.said("cloister"))
    up.config.write_text(good.replace("[apps.two]", "[apps.new]"))
    up.process.send_signal(signal.SIGHUP)
    wait_until(lambda: up.status().door.replacements == 1, what="another door", seconds=30)
    assert [app.name for app in up.wait_ready().apps] == ["one", "new"]
    assert up.configuration().version == 2


def test_the_accepted_configuration_comes_back_after_a_crash(up: Up) -> None:
    up.write(SITES)
    up.start()
    up.wait_ready()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = up.config.read_text().replace("[apps.two]", "[apps.new]").replace(":0", f":{port}")
    up.apply(text)
    head, _, _ = text.partition("[listeners")
    up.config.write_text(head + "broken by an editor\n")
    assert up.process is not None
    up.process.kill()
    up.process.wait(10)
    up.start()
    up.wait_ready()
    assert up.port == port
    assert [app.name for app in up.status().apps] == ["one", "new"]
    assert (up.configuration().text, up.configuration().version) == (text, 2)
    assert up.stop() == 0
    # After a stop, what is in the file is what the administrator wants.
    up.start()
    assert up.process.wait(30) != 0
    up.config.write_text(text.replace("[apps.new]", "[apps.newer]"))
    up.start()
    up.wait_ready()
    assert [app.name for app in up.status().apps] == ["one", "newer"]


def test_an_accepted_configuration_with_a_broken_application_comes_back(up: Up) -> None:
    up.write(SITES)
    up.start()
    up.wait_ready()
    (up.folder / "apps" / "two" / "web.py").unlink()
    (up.folder / "apps" / "two").rmdir()
    assert up.process is not None
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait(10)
    up.start()
    up.wait_ready("one")
    assert Client(up, "one.example").get().startswith(b"asgi")
    # It was taken over as it ran; the next one of it cannot be made.
    running = up.app("two").pid
    assert running is not None
    os.kill(running, signal.SIGKILL)
    wait_until(lambda: up.app("two").failure is not None, what="its failure", seconds=30)
    assert Client(up, "one.example").get().startswith(b"asgi")
