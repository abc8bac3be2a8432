"""Whoever speaks first without being a TLS client: refused in time, at no cost, unseen."""

import contextlib
import os
import random
import struct
import time

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import Door, DoorOptions
from tests.support.hello import (
    Hello,
    browser_hello,
    cut_into_records,
    record,
    records_of,
)
from tests.support.peers import HostsDirectory, Peer
from tests.support.processes import descriptor_count, processor_seconds, resident_bytes
from tests.support.waiting import Deadline, wait_until

MEBIBYTE = 1 << 20

HTTP = b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n"
# draft-hickman-netscape-ssl: two bytes of length with the high bit, type 1, version 0.2.
SSL_2 = bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(
    16
)

# A hello of 16 KiB that says nothing in so many words: it is wrong only inside, so that all
# its records have to be read.
LARGEST = b"\x01" + struct.pack(">I", (1 << 14) - 4)[1:] + b"\x03\x03" + bytes((1 << 14) - 6)

HOSTILE: dict[str, tuple[bytes, Alert]] = {
    "an HTTP request": (HTTP, Alert.UNEXPECTED_MESSAGE),
    "an SSL 2.0 hello": (SSL_2, Alert.UNEXPECTED_MESSAGE),
    "an alert first": (record(b"\x01\x00", kind=21), Alert.UNEXPECTED_MESSAGE),
    "application data first": (record(bytes(100), kind=23), Alert.UNEXPECTED_MESSAGE),
    "an SSH banner": (b"SSH-2.0-OpenSSH_9.2\r\n", Alert.UNEXPECTED_MESSAGE),
    "a record of version 2": (record(Hello().message(), version=0x0201), Alert.PROTOCOL_VERSION),
    "an empty record": (record(b""), Alert.DECODE_ERROR),
    "an empty record amid the hello": (
        record(Hello().message()[:50]) + record(b"") + record(Hello().message()[50:]),
        Alert.DECODE_ERROR,
    ),
    "an alert amid the hello": (
        record(Hello().message()[:50]) + record(b"\x01\x00", kind=21),
        Alert.UNEXPECTED_MESSAGE,
    ),
    "a record too long": (b"\x16\x03\x01\x40\x01", Alert.RECORD_OVERFLOW),
    "a record of 65535 bytes": (b"\x16\x03\x01\xff\xff" + bytes(100), Alert.RECORD_OVERFLOW),
    "a server_hello": (record(b"\x02\x00\x00\x02\x03\x03"), Alert.UNEXPECTED_MESSAGE),
    "a handshake of 16 MiB": (record(b"\x01\xff\xff\xff" + bytes(500)), Alert.ILLEGAL_PARAMETER),
    "one byte more than 16 KiB": (record(b"\x01\x00\x3f\xfd"), Alert.ILLEGAL_PARAMETER),
    "16 KiB in records of one byte": (records_of(LARGEST, 1), Alert.DECODE_ERROR),
    "16 KiB of zeros in one record": (record(LARGEST), Alert.DECODE_ERROR),
    "a hello cut short inside": (
        record(b"\x01\x00\x00\x20" + Hello().message()[4:36]),
        Alert.DECODE_ERROR,
    ),
    "no name": (Hello(name=None).records(), Alert.UNRECOGNIZED_NAME),
    "an extension twice": (
        Hello(extra=((35, b""), (35, b""))).records(),
        Alert.ILLEGAL_PARAMETER,
    ),
}


@pytest.fixture
def patient(start_door: StartDoor) -> Door:
    """A door that is as patient as by default, so that no alert comes from a deadline."""
    return start_door()


@pytest.mark.parametrize("case", HOSTILE)
def test_the_alert_says_what_is_wrong(case: str, patient: Door, hosts: HostsDirectory) -> None:
    data, alert = HOSTILE[case]
    with hosts.listen("one.example") as target, patient.connect() as client:
        client.send(data)
        expect_alert(client, alert)
        assert not target.is_contacted()
    refused = patient.wait_for_record()
    name = "refused-name" if alert is Alert.UNRECOGNIZED_NAME else "refused-hello"
    assert refused["outcome"] == name
    assert refused["reason"]
    assert refused["target"] is None
    assert refused["bytes_to_target"] == 0


@pytest.mark.parametrize("case", HOSTILE)
def test_the_alert_does_not_depend_on_segments(case: str, patient: Door) -> None:
    data, alert = HOSTILE[case]
    with patient.connect() as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in data[:2_000]:
                client.send(bytes([byte]))
            client.send(data[2_000:])
        # Bytes that are still under way when the door closes may turn its end into a reset;
        # the alert has arrived before.
        assert client.receive(7)[6] == alert


def test_garbage_is_refused_whatever_it_is(patient: Door, hosts: HostsDirectory) -> None:
    chance = random.Random(8446)
    with hosts.listen("one.example") as target:
        for _ in range(300):
            data = chance.randbytes(chance.randrange(6, 400))
            if data[0] == 22:
                continue
            with patient.connect() as client:
                client.send(data)
                expect_alert(client, Alert.UNEXPECTED_MESSAGE)
        assert not target.is_contacted()


def test_a_damaged_hello_reaches_no_target_under_its_name(
    patient: Door, hosts: HostsDirectory
) -> None:
    """One flipped bit is an alert, or, where it changes only what servers negotiate, the
    same damaged hello for the target: never both, never anything else."""
    message = Hello(b"one.example", alpn=(b"h2",)).message()
    outcomes: set[str] = set()
    with hosts.listen("one.example") as target:
        for bit in range(0, len(message) * 8, 3):
            damaged = bytearray(message)
            damaged[bit // 8] ^= 1 << bit % 8
            data = record(bytes(damaged))
            with patient.connect() as client:
                client.send(data)
                client.finish()
                answer = wait_until(lambda: target.accept_pending() or client.receive_pending())
                if isinstance(answer, bytes):
                    assert answer[:6] == bytes([21, 3, 3, 0, 2, 2])
                    assert not target.is_contacted()
                    outcomes.add("refused")
                else:
                    assert answer is not None
                    with answer:
                        assert answer.receive_rest() == data
                    outcomes.add("relayed")
    assert outcomes == {"refused", "relayed"}


def test_an_alert_arrives_although_more_is_sent(patient: Door) -> None:
    """Closing a TCP socket with unread bytes sends a reset, which overtakes the alert."""
    with patient.connect() as client:
        client.send(HTTP + bytes(100_000))
        expect_alert(client, Alert.UNEXPECTED_MESSAGE)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01", Hello().records()[:-1]])
def test_an_end_inside_the_hello_is_a_decode_error(patient: Door, sent: bytes) -> None:
    with patient.connect() as client:
        client.send(sent)
        client.finish()
        expect_alert(client, Alert.DECODE_ERROR)
    assert patient.wait_for_record()["outcome"] == "hello-incomplete"


def test_an_end_before_the_first_byte_is_an_end(patient: Door) -> None:
    with patient.connect() as client:
        client.finish()
        assert client.receive_rest() in {b"", bytes([21, 3, 3, 0, 2, 2, 50])}
    assert patient.wait_for_record()["outcome"] == "hello-incomplete"


def test_silence_is_canceled_at_the_deadline(start_door: StartDoor) -> None:
    door = start_door(DoorOptions(hello_timeout=0.5))
    with door.connect() as client:
        begun = time.monotonic()
        expect_alert(client, Alert.USER_CANCELED)
        assert 0.45 <= time.monotonic() - begun <= 1.5
    assert door.wait_for_record()["outcome"] == "hello-timeout"


def test_dribbling_does_not_extend_the_deadline(start_door: StartDoor) -> None:
    door = start_door(DoorOptions(hello_timeout=0.5))
    hello = browser_hello().records()
    with door.connect() as client:
        begun = time.monotonic()
        client.socket.settimeout(0.02)
        sent, received = 0, b""
        while not received and time.monotonic() - begun < 5:
            client.send(hello[sent : sent + 1])
            sent += 1
            with contextlib.suppress(TimeoutError):
                received = client.socket.recv(7)
        assert received == bytes([21, 3, 3, 0, 2, 2, Alert.USER_CANCELED])
        assert 0.45 <= time.monotonic() - begun <= 1.5
        assert sent < len(hello)


def test_hostile_connections_cost_no_memory_and_no_descriptor(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    door = start_door(DoorOptions(workers=2))
    with hosts.listen("one.example") as target:
        kinds = [data for data, _ in HOSTILE.values() if len(data) < 20_000]
        kinds += [b"", b"\x16\x03\x01", browser_hello().records()[:-1], os.urandom(300)]

        def attack(count: int) -> None:
            for index in range(count):
                with door.connect() as client:
                    client.send(kinds[index % len(kinds)])
                    client.finish()
                    client.receive_rest_unless_reset()

        attack(500)
        wait_until(lambda: len(door.records) == 500, what="500 records")
        descriptors, memory = descriptor_count(door.pid), resident_bytes(door.pid)
        attack(2_000)
        wait_until(lambda: len(door.records) == 2_500, what="2500 records")
        wait_until(
            lambda: descriptor_count(door.pid) <= descriptors, what="the descriptors are back"
        )
        assert resident_bytes(door.pid) - memory < MEBIBYTE
        assert not target.is_contacted()


def test_pending_hellos_cost_little_memory(start_door: StartDoor) -> None:
    """500 connections that stop just before the end of the largest hello: 8 MiB of theirs."""
    door = start_door(DoorOptions(hello_timeout=30))
    message = Hello().of_length(1 << 14).message()
    data = cut_into_records(message, [len(message) // 2])[:-1]
    descriptors, memory = descriptor_count(door.pid), resident_bytes(door.pid)
    clients: list[Peer] = []
    try:
        for _ in range(500):
            client = door.connect()
            clients.append(client)
            client.send(data)
        wait_until(
            lambda: descriptor_count(door.pid) >= descriptors + 500, what="500 accepted connections"
        )
        assert resident_bytes(door.pid) - memory < 500 * (48 << 10)
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: len(door.records) == 500, what="500 records")
    wait_until(lambda: descriptor_count(door.pid) <= descriptors, what="the descriptors are back")


def test_silent_connections_do_not_keep_a_processor_busy(start_door: StartDoor) -> None:
    door = start_door(DoorOptions(hello_timeout=30))
    clients = [door.connect() for _ in range(100)]
    try:
        for client in clients:
            client.send(b"\x16")
        wait_until(lambda: descriptor_count(door.pid) > 100, what="100 accepted connections")
        begun, used = Deadline(0.5), processor_seconds(door.pid)
        wait_until(lambda: begun.expired, what="half a second")
        assert processor_seconds(door.pid) - used < 0.1
    finally:
        for client in clients:
            client.close()
