"""Gigabytes through one door, compared by hash: nothing lost, moved, doubled or mixed."""

from tests.support.bulk import bulk_client, bulk_server, results
from tests.support.door import Door
from tests.support.peers import HostsDirectory
from tests.support.processes import lasting_descriptor_count, resident_bytes
from tests.support.waiting import wait_until

MEBIBYTE = 1 << 20


def port(door: Door) -> int:
    return int(door.listening.getsockname()[1])


def test_64_parallel_downloads_of_64_mebibytes(door: Door, hosts: HostsDirectory) -> None:
    count, length = 64, 64 * MEBIBYTE
    before = lasting_descriptor_count(door.pid)
    with (
        hosts.listen("one.example") as target,
        bulk_server(target),
        bulk_client("download", port(door), "one.example", count=count, length=length) as client,
    ):
        assert results(client, seconds=100) == [True] * count
        assert resident_bytes(door.pid) < 32 * MEBIBYTE
    records = door.wait_for_records(count)
    assert {record["outcome"] for record in records} == {"complete"}
    assert all(record["bytes_to_client"] == length + 64 for record in records)
    wait_until(
        lambda: lasting_descriptor_count(door.pid) <= before, what="the descriptors are back"
    )


def test_16_parallel_uploads_of_64_mebibytes(door: Door, hosts: HostsDirectory) -> None:
    """The client ends its direction before the answer: an upload needs the half-close."""
    count, length = 16, 64 * MEBIBYTE
    with (
        hosts.listen("one.example") as target,
        bulk_server(target),
        bulk_client("upload", port(door), "one.example", count=count, length=length) as client,
    ):
        assert results(client, seconds=100) == [True] * count
        assert resident_bytes(door.pid) < 32 * MEBIBYTE
    records = door.wait_for_records(count)
    assert {record["outcome"] for record in records} == {"complete"}
    assert all(record["bytes_to_client"] == 64 for record in records)


def test_both_directions_at_once(door: Door, hosts: HostsDirectory) -> None:
    count, length = 8, 32 * MEBIBYTE
    with (
        hosts.listen("one.example") as one,
        hosts.listen("two.example") as two,
        bulk_server(one),
        bulk_server(two),
        bulk_client("upload", port(door), "one.example", count=count, length=length) as up,
        bulk_client("download", port(door), "two.example", count=count, length=length) as down,
    ):
        assert results(up, seconds=100) == [True] * count
        assert results(down, seconds=100) == [True] * count
