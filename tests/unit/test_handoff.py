"""What a HandoffListener makes of good and bad senders."""

import asyncio
import contextlib
import os
import resource
import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.waiting import wait_until

from cloister import handoff
from cloister.handoff import HandedOffSocket, Handoff, HandoffError, HandoffListener, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def value(kind: int, content: bytes) -> bytes:
    return struct.pack("!BH", kind, len(content)) + content


def message(
    *values: bytes, transport: int = 0, addresses: bytes = b"", command: int = 0x21
) -> bytes:
    rest = addresses + b"".join(values)
    return SIGNATURE + struct.pack("!BBH", command, transport, len(rest)) + rest


GOOD = message(value(0x02, b"one.example"), value(0xE0, b"https"), value(0xE1, b"\x02h2"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "handoff-socket"


@pytest.fixture
def listener(path: Path) -> Iterator[HandoffListener]:
    with HandoffListener(path) as listener:
        listener.settimeout(10)
        yield listener


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected TCP pair: the client's end, and the end that is handed off."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        served, _ = listening.accept()
        with client, served:
            yield client, served


@contextlib.contextmanager
def sender(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        control.connect(str(path))
        yield control


def send(path: Path, said: bytes, *connections: socket.socket) -> None:
    with sender(path) as control:
        descriptors = [connection.fileno() for connection in connections]
        if descriptors:
            socket.send_fds(control, [said], descriptors)
        else:
            control.send(said)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, not paths


Pair = tuple[socket.socket, socket.socket]


def test_a_message_says_everything() -> None:
    ipv4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + b"\x12\x67\x01\xbb"
    said = parse(
        message(
            value(0x01, b"h2"),
            value(0x02, b"one.example"),
            value(0xE0, b"https"),
            value(0xE1, b"\x02h2\x08http/1.1"),
            value(0x77, b"unknown"),
            transport=0x11,
            addresses=ipv4,
        )
    )
    assert said == Handoff(
        "one.example",
        (b"h2", b"http/1.1"),
        "https",
        ("192.0.2.1", 0x1267),
        ("198.51.100.2", 443),
    )
    ipv6 = bytes(15) + b"\x01" + bytes(15) + b"\x02" + b"\x00\x01\x00\x02"
    said = parse(message(transport=0x21, addresses=ipv6))
    assert said == Handoff(None, (), "", ("::1", 1), ("::2", 2))


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        GOOD[:15],
        GOOD[:-1],
        GOOD + b"x",
        b"x" + GOOD[1:],
        message(command=0x11),
        message(transport=0x55),
        message(transport=0x11, addresses=b"short"),
        message(b"\x02\x00"),
        message(b"\x02\x00\x05abc"),
        message(value(0x02, b"\xff")),
        message(value(0xE0, b"\xff")),
        message(value(0xE1, b"\x05h2")),
        message(value(0xE1, b"\x00")),
    ],
)
def test_a_wrong_message_is_refused(wrong: bytes) -> None:
    with pytest.raises(HandoffError):
        parse(wrong)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_break_the_parser(noise: bytes, cut: int) -> None:
    for said in (noise, GOOD[:cut] + noise, message(noise)):
        with contextlib.suppress(HandoffError):
            parse(said)


def test_a_connection_comes_with_its_address(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    send(path, GOOD, client[1])
    connection, address = listener.accept()
    with connection:
        assert isinstance(connection, HandedOffSocket)
        assert address == connection.getpeername() == client[0].getsockname()
        assert connection.handoff.server_name == "one.example"
        client[0].send(b"x")
        assert connection.recv(1) == b"x"
        assert not os.get_inheritable(connection.fileno())


def test_a_named_client_is_the_peer(listener: HandoffListener, path: Path, client: Pair) -> None:
    block = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + b"\x00\x01\x00\x02"
    send(path, message(transport=0x11, addresses=block), client[1])
    connection, address = listener.accept()
    with connection:
        assert address == connection.getpeername() == ("192.0.2.1", 1)
        assert connection.getsockname() == ("198.51.100.2", 2)


def test_bad_senders_are_passed_over_and_cost_nothing(
    listener: HandoffListener, path: Path, client: Pair, tmp_path: Path
) -> None:
    def bad_senders() -> None:
        with sender(path):
            pass  # a look whether somebody accepts
        send(path, GOOD)  # no descriptor
        send(path, b"nonsense", client[1])
        send(path, GOOD, client[1], client[1])
        send(path, GOOD + bytes(5000), client[1])
        send(path, GOOD + GOOD, client[1])
        send(path, GOOD + GOOD[:-1], client[1], client[1])
        send(path, GOOD + b"nonsense", client[1], client[1])
        send(path, GOOD * 17, *[client[1]] * 17)
        with (tmp_path / "file").open("w") as file, sender(path) as control:
            socket.send_fds(control, [GOOD], [file.fileno()])
        with (tmp_path / "file").open("w") as file, sender(path) as control:
            descriptors = [client[1].fileno(), client[1].fileno(), file.fileno()]
            socket.send_fds(control, [GOOD * 3], descriptors)
        with socket.socket() as unconnected:
            send(path, GOOD, unconnected)

    before = open_descriptors()
    for _ in range(3):
        bad_senders()
        send(path, GOOD, client[1])
        connection, _ = listener.accept()
        connection.close()
    assert open_descriptors() == before


def named(number: int) -> bytes:
    return message(value(0x02, f"n{number}.example".encode()))


def send_batch(path: Path, client: Pair, count: int = handoff.CONNECTIONS_LIMIT) -> None:
    said = b"".join(named(number) for number in range(count))
    send(path, said, *[client[1]] * count)


def test_a_message_of_many_is_accepted_in_its_order(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    before = open_descriptors()
    send_batch(path, client)
    send(path, named(16), client[1])
    listener.settimeout(0)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        for number in range(17):
            assert selector.select(0), "it tells of each, however few are accepted at once"
            connection, _ = listener.accept()
            with connection:
                assert isinstance(connection, HandedOffSocket)
                assert connection.handoff.server_name == f"n{number}.example"
        assert not selector.select(0), "it would spin"
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert open_descriptors() == before


def test_what_nobody_accepted_is_closed_with_the_listener(path: Path, client: Pair) -> None:
    before = open_descriptors()
    with HandoffListener(path) as listener:
        send_batch(path, client)
        listener.accept()[0].close()
        assert open_descriptors() > before
    assert open_descriptors() == before


def test_one_of_many_that_is_gone_costs_no_other(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    with socket.socket() as unconnected:
        send(path, GOOD * 3, client[1], unconnected, client[1])
        for _ in range(2):
            listener.accept()[0].close()
    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_many_threads_share_a_message(listener: HandoffListener, path: Path, client: Pair) -> None:
    taken: list[str | None] = []

    def take() -> None:
        connection, _ = listener.accept()
        with connection:
            assert isinstance(connection, HandedOffSocket)
            taken.append(connection.handoff.server_name)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    send_batch(path, client)
    for thread in threads:
        thread.join(10)
    assert sorted(map(str, taken)) == sorted(f"n{number}.example" for number in range(16))


def test_a_forked_child_leaves_what_its_parent_took(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    listener.settimeout(0)
    send_batch(path, client, 3)
    listener.accept()[0].close()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException), selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            status = 0 if not selector.select(0) else 2
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    for number in (1, 2):
        connection, _ = listener.accept()
        with connection:
            assert isinstance(connection, HandedOffSocket)
            assert connection.handoff.server_name == f"n{number}.example"


def test_a_sender_that_waits_holds_nobody_up(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    listener.settimeout(0)
    with selectors.DefaultSelector() as selector, sender(path) as slow:
        selector.register(listener, selectors.EVENT_READ)
        assert selector.select(5)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert not selector.select(0), "it would spin"
        send(path, GOOD, client[1])
        assert selector.select(5)
        first, _ = listener.accept()
        first.close()
        socket.send_fds(slow, [GOOD], [client[1].fileno()])
        assert selector.select(5)
        second, _ = listener.accept()
        second.close()


def test_silent_senders_are_bounded(listener: HandoffListener, path: Path, client: Pair) -> None:
    before = open_descriptors()
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(sender(path)) for _ in range(100)]
        send(path, GOOD, client[1])
        connection, _ = listener.accept()
        connection.close()
        limit = handoff._WAITING_LIMIT
        assert open_descriptors() == before + len(senders) + limit
    listener.settimeout(0.01)
    with pytest.raises(TimeoutError):
        listener.accept()
    assert open_descriptors() == before


def test_only_named_users_may_send(path: Path, client: Pair) -> None:
    with HandoffListener(path, senders=[os.geteuid() + 1]) as strict:
        strict.settimeout(0.05)
        send(path, GOOD, client[1])
        with pytest.raises(TimeoutError):
            strict.accept()
    with HandoffListener(path, senders=[os.geteuid()]) as strict:
        strict.settimeout(10)
        send(path, GOOD, client[1])
        strict.accept()[0].close()


def test_a_path_of_any_length_and_its_mode(tmp_path: Path, client: Pair) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    path = folder / "handoff-socket"
    with HandoffListener(path, mode=0o622) as listener:
        assert path.stat().st_mode & 0o777 == 0o622
        assert [entry.name for entry in folder.iterdir()] == ["handoff-socket"]
        successor = HandoffListener(path)
        listener.close()
        assert path.exists(), "it is the successor's"
    successor.close()
    assert not path.exists()


def test_a_descriptor_that_does_not_fit_stays_the_callers(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(path))
        stream.listen()
        with pytest.raises(OSError, match="SOCK_SEQPACKET"):
            HandoffListener(fileno=stream.fileno())
        assert stream.getsockname() == str(path), "still open"


def test_a_forked_child_accepts_and_wakes_for_nothing_of_its_parents(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    listener.settimeout(0)
    with sender(path) as waiting:
        with pytest.raises(BlockingIOError):
            listener.accept()
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException), selectors.DefaultSelector() as selector:
                selector.register(listener, selectors.EVENT_READ)
                socket.send_fds(waiting, [GOOD], [client[1].fileno()])
                status = 0 if not selector.select(0.1) else 2
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        connection, _ = listener.accept()
        connection.close()


def test_asyncio_serves_from_it(path: Path, client: Pair) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = writer.get_extra_info("peername")
        writer.write(f"{name} ".encode() + await reader.read())
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(echo, sock=HandoffListener(path))
        async with server:
            send(path, GOOD, client[1])
            client[1].close()
            client[0].send(b"hello")
            client[0].shutdown(socket.SHUT_WR)
            reader, writer = await asyncio.open_connection(sock=client[0].dup())
            answer = await reader.read()
            writer.close()
            return answer

    expected = f"{client[0].getsockname()} hello".encode()
    assert asyncio.run(main()) == expected
    assert not path.exists()


@pytest.mark.parametrize("backlog", [1, 100])
def test_asyncio_serves_every_connection_of_a_message(
    backlog: int, path: Path, client: Pair
) -> None:
    """asyncio accepts at most `backlog` connections for each event."""
    served: list[str] = []

    async def main() -> None:
        done = asyncio.Event()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                sock = transport.get_extra_info("socket")
                served.append(str(sock.getpeername()[0]))
                transport.close()
                if len(served) == 16:
                    done.set()

        loop = asyncio.get_running_loop()
        listener = HandoffListener(path)
        server = await loop.create_server(Protocol, sock=listener, backlog=backlog)
        async with server:
            send_batch(path, client)
            await asyncio.wait_for(done.wait(), 10)

    asyncio.run(main())
    assert served == ["127.0.0.1"] * 16


def test_without_descriptors_for_all_it_takes_none(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    listener.settimeout(0)
    send_batch(path, client)
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 4, hard))
    try:
        with pytest.raises(OSError, match="no descriptor is left"):
            listener.accept()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before


def test_without_a_free_descriptor_it_says_so(
    listener: HandoffListener, path: Path, client: Pair
) -> None:
    """Servers then pause; what was just received is lost, and no descriptor with it."""
    listener.settimeout(0)
    send(path, GOOD, client[1])
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The lowest number that is free is the sender's connection; none is left for the client's.
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, hard))
    try:
        with pytest.raises(OSError, match="no descriptor is left"):
            listener.accept()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before
    send(path, GOOD, client[1])
    listener.accept()[0].close()


def test_a_thread_waits_in_accept(listener: HandoffListener, path: Path, client: Pair) -> None:
    listener.settimeout(None)
    taken: list[socket.socket] = []
    thread = threading.Thread(target=lambda: taken.append(listener.accept()[0]))
    thread.start()
    send(path, GOOD, client[1])
    thread.join(10)
    wait_until(lambda: taken, what="a connection")
    assert taken[0].getblocking()
    taken[0].close()
