"""The host's network and other cells' sockets are out of an application's reach."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cell_attempts import REACHED, in_cell
from tests.support.cell_spec import (
    HOST_ID,
    Cell,
    bind,
    launched,
    one_id,
    python,
    run_python,
    specification,
    with_binds,
)

pytestmark = pytest.mark.usefixtures("root")

LISTEN = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind({address!r})
listener.listen()
print("listening", flush=True)
while True:
    listener.accept()[0].close()
"""
CONNECT = "socket.socket(socket.AF_UNIX).connect({address!r})"


@pytest.fixture
def other_cell(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Cell]:
    """Another cell, of another user, that listens on an address of its own."""
    address, network = request.param
    os.chown(open_folder, HOST_ID + 1, HOST_ID + 1)
    spec = specification(
        *python("import os; os.umask(0)\n" + LISTEN.format(address=address(open_folder))),
        identity=one_id(HOST_ID + 1),
        namespaces__network=network,
        **with_binds(bind(str(open_folder), writable=True)),
    )
    with launched(spec) as cell:
        assert cell.failure() is None
        assert cell.process.stdout is not None
        assert cell.process.stdout.readline() == b"listening\n"
        yield cell


def in_folder(folder: Path) -> str:
    return f"{folder}/socket"


def abstract(folder: Path) -> str:
    return f"\0{folder.name}"


@pytest.mark.parametrize("other_cell", [(in_folder, True)], indirect=True)
def test_another_cells_socket_by_its_path(other_cell: Cell, open_folder: Path) -> None:
    body = CONNECT.format(address=in_folder(open_folder))
    assert in_cell(body) == "denied ENOENT"
    assert in_cell(body, **with_binds(bind(str(open_folder)))) == REACHED


@pytest.mark.parametrize("other_cell", [(in_folder, True)], indirect=True)
def test_another_cells_socket_by_its_mode(other_cell: Cell, open_folder: Path) -> None:
    body = CONNECT.format(address=in_folder(open_folder))
    seen = with_binds(bind(str(open_folder)))
    (open_folder / "socket").chmod(0o660)
    assert in_cell(body, **seen) == "denied EACCES"
    os.chown(open_folder / "socket", HOST_ID + 1, HOST_ID)
    assert in_cell(body, **seen) == REACHED


@pytest.mark.parametrize(
    ("other_cell", "network", "expected"),
    [
        ((abstract, True), True, "denied ECONNREFUSED"),
        ((abstract, True), False, "denied ECONNREFUSED"),
        ((abstract, False), True, "denied ECONNREFUSED"),
        ((abstract, False), False, REACHED),
    ],
    indirect=["other_cell"],
)
def test_another_cells_abstract_socket(
    other_cell: Cell, open_folder: Path, network: bool, expected: str
) -> None:
    body = CONNECT.format(address=abstract(open_folder))
    assert in_cell(body, namespaces__network=network) == expected


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_listeners_on_the_hosts_loopback(family: socket.AddressFamily) -> None:
    host = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}[family]
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        body = f"socket.create_connection(({host!r}, {port}), 5)"
        assert in_cell(body) == "denied ECONNREFUSED"
        assert in_cell(body, namespaces__network=False) == REACHED


def test_there_is_no_way_to_any_other_network() -> None:
    # Connecting a datagram socket looks up a route and sends nothing.
    body = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('{}', 9))"
    assert in_cell(body.format("192.0.2.1")) == "denied ENETUNREACH"
    assert in_cell(body.format("127.0.0.1")) == REACHED


def test_loopback_is_up_and_alone() -> None:
    script = (
        "import socket; print(*socket.if_nameindex())\n"
        "with socket.create_server(('127.0.0.1', 0)) as listener:\n"
        "    socket.create_connection(listener.getsockname(), 5).close()\n"
        "with socket.create_server(('::1', 0), family=socket.AF_INET6) as listener:\n"
        "    socket.create_connection(listener.getsockname()[:2], 5).close()\n"
        "print('served')"
    )
    assert run_python(script).output.splitlines() == ["(1, 'lo')", "served"]


def test_packets_cannot_be_forged() -> None:
    body = "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"
    assert in_cell(body) == "denied EPERM"
    superuser = one_id(HOST_ID, uid=0, gid=0)
    assert in_cell(body, identity=superuser, protections__drop_capabilities=False) == REACHED
