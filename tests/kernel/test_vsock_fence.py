"""vsock(7) passes every namespace, the network's too: what keeps a cell from the machine's own
ports is the filter of system calls alone. ``make test-machine`` runs this where there is vsock.
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.cell_attempts import REACHED, script
from tests.support.cell_spec import python
from tests.support.default_cell import run_default
from tests.support.escapes import allow
from tests.support.relay import LOOPBACK_CID, listen
from tests.support.vsock import need_loopback

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(autouse=True, scope="module")
def loopback() -> None:
    need_loopback()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Somebody on this machine, outside of the cell."""
    with listen("vsock", None) as listening:
        listening.settimeout(60)
        yield listening


def attempt(body: str, change: Any = None) -> str:
    outcome = run_default(*python(script(body)), change=change)
    assert outcome.failure is None, outcome.failure
    assert outcome.status == 0, outcome
    return outcome.output.strip()


def with_sockets(made: dict[str, Any]) -> None:
    """The fence before socket(2) is away, and only that one."""
    allow(made, "socket")


def call(listening: socket.socket) -> str:
    """From within: the machine's own port."""
    port = listening.getsockname()[1]
    return (
        "line = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)\n"
        "line.settimeout(60)\n"
        f"line.connect(({LOOPBACK_CID}, {port}))\n"
        "line.sendall(b'out of the cell')\n"
    )


def test_a_port_of_the_machine_is_out_of_reach(listening: socket.socket) -> None:
    """The very same attempt brings its bytes out where the filter allows socket(2)."""
    assert attempt(call(listening)) == "denied EPERM"
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.accept()
    listening.settimeout(60)
    assert attempt(call(listening), with_sockets) == REACHED
    connection, _ = listening.accept()
    with connection:
        connection.settimeout(60)
        assert connection.recv(15, socket.MSG_WAITALL) == b"out of the cell"


def test_a_port_of_the_machine_cannot_be_taken() -> None:
    """Nor can others be waited for, who would take the cell for the machine."""
    with listen("vsock", None) as gone:
        port = gone.getsockname()[1]
    body = (
        "line = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)\n"
        f"line.bind((socket.VMADDR_CID_ANY, {port}))\n"
        "line.listen(1)\n"
    )
    assert attempt(body) == "denied EPERM"
    assert attempt(body, with_sockets) == REACHED


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_SEQPACKET"])
def test_no_other_kind_of_it_either(kind: str) -> None:
    body = f"socket.socket(socket.AF_VSOCK, socket.{kind}).close()"
    assert attempt(body) == "denied EPERM"
