"""`cloister hosts check` says what the door does: the same folders, asked of both."""

import contextlib
import json
import select
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import Door
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, UnixListener
from tests.support.tenants import ALICE, MALLORY, acting_as

from cloister.cli.commands.hosts import command

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture
def hosts() -> Iterator[HostsDirectory]:
    above = Path(tempfile.mkdtemp(prefix="hosts-"))
    try:
        above.chmod(0o755)
        hosts = HostsDirectory(above / "hosts")
        hosts.path.chmod(0o1777)
        yield hosts
    finally:
        shutil.rmtree(above)


Made = list[UnixListener]
Case = Callable[[HostsDirectory, Made], None]


def plain(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("a.example"))


def tenants(hosts: HostsDirectory, made: Made) -> None:
    with acting_as(ALICE):
        made.append(hosts.listen("a.example"))


def empty_folder(hosts: HostsDirectory, made: Made) -> None:
    hosts.folder("a.example")
    made.append(hosts.listen("*.example"))


def parent(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("*.example"))


def two_labels_above(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("*.a.example"))


def default(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("_default"))


def parent_of_a_tenant(hosts: HostsDirectory, made: Made) -> None:
    with acting_as(MALLORY):
        made.append(hosts.listen("*.example"))


def parent_of_a_tenant_and_default(hosts: HostsDirectory, made: Made) -> None:
    parent_of_a_tenant(hosts, made)
    default(hosts, made)


def broken_parent_before_default(hosts: HostsDirectory, made: Made) -> None:
    hosts.folder("*.example")
    default(hosts, made)


def own_link(hosts: HostsDirectory, made: Made) -> None:
    with acting_as(ALICE):
        made.append(hosts.listen("other.example"))
        (hosts.path / "a.example").symlink_to("/other.example")


def foreign_link(hosts: HostsDirectory, made: Made) -> None:
    with acting_as(ALICE):
        made.append(hosts.listen("other.example"))
    with acting_as(MALLORY):
        (hosts.path / "a.example").symlink_to("other.example")


def foreign_socket(hosts: HostsDirectory, made: Made) -> None:
    with acting_as(ALICE):
        made.append(hosts.listen("other.example"))
    with acting_as(MALLORY):
        (hosts.folder("a.example") / "tls-socket").symlink_to("../other.example/tls-socket")


def linked_default(hosts: HostsDirectory, made: Made) -> None:
    with acting_as(ALICE):
        made.append(hosts.listen("other.example"))
    (hosts.path / "_default").symlink_to("other.example")


def link_out(hosts: HostsDirectory, made: Made) -> None:
    outside = HostsDirectory(hosts.path.parent / "outside")
    made.append(outside.listen("x"))
    (hosts.path / "a.example").symlink_to("../outside/x")


def loop(hosts: HostsDirectory, made: Made) -> None:
    (hosts.path / "a.example").symlink_to("a.example")


def dangling(hosts: HostsDirectory, made: Made) -> None:
    (hosts.path / "a.example").symlink_to("nowhere")
    default(hosts, made)


def file_for_folder(hosts: HostsDirectory, made: Made) -> None:
    (hosts.path / "a.example").write_text("")
    default(hosts, made)


def file_for_socket(hosts: HostsDirectory, made: Made) -> None:
    (hosts.folder("a.example") / "tls-socket").write_text("")


def nobody_listens(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("a.example"))
    made[0].socket.close()


def closed_socket(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("a.example", mode=0o600))


def closed_folder(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("a.example"))
    (hosts.path / "a.example").chmod(0o700)


def proxied(hosts: HostsDirectory, made: Made) -> None:
    made.append(hosts.listen("a.example"))
    (hosts.path / "a.example" / "send-proxy-v1").write_text("")


def protocol(hosts: HostsDirectory, made: Made) -> None:
    hosts.folder("a.example")
    hosts.folder("a.example/alpn")
    made.append(hosts.listen("a.example/alpn/acme-tls%2F1"))


def other_protocol(hosts: HostsDirectory, made: Made) -> None:
    plain(hosts, made)
    hosts.folder("a.example/alpn")
    hosts.folder("a.example/alpn/h2")


CASES: list[Case] = [
    plain,
    tenants,
    empty_folder,
    parent,
    two_labels_above,
    default,
    parent_of_a_tenant,
    parent_of_a_tenant_and_default,
    broken_parent_before_default,
    own_link,
    foreign_link,
    foreign_socket,
    linked_default,
    link_out,
    loop,
    dangling,
    file_for_folder,
    file_for_socket,
    nobody_listens,
    closed_socket,
    closed_folder,
    proxied,
    protocol,
    other_protocol,
]


def serves(door: Door, hello: Hello, targets: Made) -> bool:
    """Whether the hello reaches a target; if not, the client gets an alert."""
    open_targets = [target for target in targets if target.socket.fileno() >= 0]
    with door.connect() as client:
        client.send(hello.records())
        sockets = [client.socket, *(target.socket for target in open_targets)]
        ready, _, _ = select.select(sockets, [], [], 10)
        assert ready, "neither served nor refused"
        if client.socket in ready:
            expect_alert(client, Alert.UNRECOGNIZED_NAME)
            return False
        (target,) = (target for target in open_targets if target.socket in ready)
        with target.accept() as served:
            rest = served.receive(len(hello.records()))
        # Behind whatever PROXY header was asked for.
        assert rest.startswith((b"\x16\x03", b"PROXY "))
        return True


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("asked", ["a.example", "b.a.example", None])
@pytest.mark.parametrize("alpn", ["", "acme-tls/1"])
def test_the_command_and_the_door_agree(
    case: Case, asked: str | None, alpn: str, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    made: Made = []
    with contextlib.ExitStack() as stack:
        case(hosts, made)
        for listener in made:
            stack.callback(listener.close)
        hello = Hello(
            asked.encode() if asked is not None else None,
            alpn=(alpn.encode(),) if alpn else (),
        )
        served = serves(start_door(), hello, made)
        arguments = ["check", "--json", "-d", str(hosts.path), "--door-user", "65534"]
        arguments += ["--alpn", alpn] * bool(alpn) + [asked] * (asked is not None)
        answer = CliRunner().invoke(command, arguments)
        said = json.loads(answer.stdout)
        assert (said["state"] == "serving") == served, said
        assert (said["problem"] is None) == served
        assert (answer.exception is None) == served


def test_adding_and_listing(hosts: HostsDirectory) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(command, [*arguments, "--directory", str(hosts.path)])
        assert result.exception is None, result.exception
        return result.stdout

    path = Path(run("add", "Bücher.Example", "--owner", str(ALICE)).splitlines()[0])
    assert path == hosts.path / "xn--bcher-kva.example"
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (ALICE, 0o755)
    taken = CliRunner().invoke(command, ["add", "bücher.example", "-d", str(hosts.path)])
    assert "is taken" in str(taken.exception)
    run("add", "*.example")
    (hosts.path / "Wrong.Example").mkdir()
    with acting_as(MALLORY):
        denied = CliRunner().invoke(command, ["add", "*.org", "-d", str(hosts.path)])
        assert "would not count" in str(denied.exception)
        (hosts.path / "_default").mkdir()
    with hosts.listen("one.example"):
        listed = {host["entry"]: host for host in json.loads(run("list", "--json"))}
        assert listed["one.example"]["state"] == "serving"
        assert "must be called wrong.example" in listed["Wrong.Example"]["problem"]
        assert "counts only" in listed["_default"]["problem"]
        assert "missing" in listed["*.example"]["problem"]
        assert listed["xn--bcher-kva.example"]["owner"] == str(ALICE)
        assert "one.example" in run("list")
