"""The supervisor's metrics, counted by a real door for real clients."""

import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest
from tests.support.prometheus import promtool, samples
from tests.support.up import ASGI, Client, Up, open_folder
from tests.support.waiting import wait_until

from cloister.door.messages import Outcome


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        running.write({"one": ASGI})
        running.start()
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


def metrics(up: Up) -> str:
    transport = httpx.HTTPTransport(uds=str(up.runtime / "control.sock"))
    with httpx.Client(transport=transport, base_url="http://cloister") as client:
        response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return response.text


def test_promtool_finds_nothing(up: Up) -> None:
    Client(up, "one.example").get()
    done = promtool(metrics(up))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_connections_bytes_and_durations_are_counted(up: Up) -> None:
    active = "cloister_door_connections"
    wait_until(lambda: samples(metrics(up))[active] == 0, what="none is open")
    before = samples(metrics(up))
    for _ in range(3):
        Client(up, "one.example").get()
    wait_until(lambda: samples(metrics(up))[active] == 0, what="all closed")
    after = samples(metrics(up))
    risen = {name: value - before.get(name, 0) for name, value in after.items()}
    assert risen["cloister_door_connections_accepted_total"] == 3
    assert risen['cloister_app_connections_accepted_total{app="one"}'] == 3
    # A client that closes first may be told of by a reset: how each ended is not fixed here.
    ended = [name for name in risen if name.startswith("cloister_door_connections_ended_total")]
    assert len(ended) == len(Outcome)
    assert sum(risen[name] for name in ended) == 3
    for name in ("hello", "connect", "answer"):
        assert risen[f"cloister_door_{name}_seconds_count"] == 3, name
        assert risen[f'cloister_door_{name}_seconds_bucket{{le="+Inf"}}'] == 3, name
    # A TLS handshake and a short answer, three times.
    received = risen['cloister_app_relayed_bytes_total{app="one",direction="to_client"}']
    assert 3 * 500 < received < 3 * 20_000
    assert after['cloister_app_ready{app="one"}'] == 1
    assert after['cloister_app_state{app="one",state="ready"}'] == 1


def test_refusals_are_counted_by_their_reason(up: Up) -> None:
    name = 'cloister_door_connections_ended_total{outcome="refused-name"}'
    before = samples(metrics(up))[name]
    context = ssl.create_default_context(cafile=up.authority)
    with (
        socket.create_connection(("127.0.0.1", up.port), timeout=30) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="nobody.example")
    wait_until(lambda: samples(metrics(up))[name] == before + 1, what="one more refusal")


def test_a_hello_that_dawdles_takes_time_and_one_that_is_there_none(up: Up) -> None:
    """The histogram of hellos tells slow clients: real ones, by the door's own clock."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="one.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    before = samples(metrics(up))
    with socket.create_connection(("127.0.0.1", up.port), timeout=30) as slow:
        slow.sendall(hello[:100])
        active = "cloister_door_connections"
        wait_until(lambda: samples(metrics(up))[active] > before[active], what="it is accepted")
        slow.sendall(hello[100:])
        assert slow.recv(1)
    after = samples(metrics(up))
    total = "cloister_door_hello_seconds_sum"
    assert after[total] > before[total]
