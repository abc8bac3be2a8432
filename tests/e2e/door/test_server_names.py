"""The name in the hello decides: the right folder or a refusal, never another folder."""

import contextlib
from collections.abc import Iterator

import pytest
from tests.support.alerts import Alert, alert_record, expect_alert
from tests.support.door import Door
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, UnixListener

LABEL = "a" * 63
LONGEST = f"{LABEL}.{LABEL}.{LABEL}.{'a' * 61}"
"""253 bytes: the longest host name (RFC 1035 section 2.3.4)."""

REFUSED = [
    b"../",
    b"..",
    b".",
    b"/",
    b"/etc",
    b"../outside",
    b"../hosts/one.example",
    b"./one.example",
    b"one.example/",
    b"one.example/.",
    b"one.example/../two.example",
    b"one.example\\..\\two.example",
    b"one.example\0",
    b"one.example\0.two.example",
    b"\0one.example",
    b"one.example.",
    b"one.example..",
    b".one.example",
    b"one..example",
    b" one.example",
    b"one.example ",
    b"one.example\n",
    b"one.example:443",
    b"one_example",
    b"-one.example",
    b"one.example-",
    b"*.example",
    b"*",
    b"_default",
    b"tls-socket",
    b"%2e%2e",
    b"%2e%2e%2foutside",
    "bücher.example".encode(),
    "onе.example".encode(),  # noqa: RUF001 - the cyrillic letter is the point
    b"\xff\xfe",
    b"127.0.0.1",
    b"::1",
    b"[::1]",
    b"0x7f000001",
    b"unknown.example",
    b"example",
    b"xone.example",
    b"one.examplex",
    b"a" * 64 + b".example",
    LONGEST.encode() + b"a",
    (LABEL + ".").encode() * 3 + b"a" * 63,
    b"a." * 127 + b"a",
    b"a" * 255,
    b"a." * 8_000,
]


@pytest.fixture
def canaries(hosts: HostsDirectory) -> Iterator[list[UnixListener]]:
    """Sockets at every place to which a careless path would lead."""
    above = hosts.path.parent
    with contextlib.ExitStack() as stack:
        outside = above / "outside"
        outside.mkdir(mode=0o755)
        places = [above / "tls-socket", outside / "tls-socket", hosts.path / "tls-socket"]
        # A folder of a refused name would take its connection if the name were not refused.
        names = ["one.example", "two.example", "a" * 64 + ".example", "a" * 255, "bücher.example"]
        names += ["*", "*.one.example", "one_example", "one.example.", "127.0.0.1", "%2e%2e"]
        places += [hosts.folder(name) / "tls-socket" for name in names]
        yield [stack.enter_context(UnixListener(place)) for place in places]


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: repr(name[:40]))
def test_a_name_that_is_none_reaches_nothing(
    name: bytes, door: Door, canaries: list[UnixListener]
) -> None:
    with door.connect() as client:
        client.send(Hello(name).records())
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
    assert not any(canary.is_contacted() for canary in canaries)
    refused = door.wait_for_record()
    assert refused["outcome"] == "refused-name"
    # Where a folder was looked for, the line says which: that of the name.
    assert refused["target"] is None or refused["target"].endswith(f"/{name.decode()}/tls-socket")


def test_an_empty_name_reaches_nothing(door: Door, canaries: list[UnixListener]) -> None:
    """RFC 6066 section 3: a HostName has at least one byte."""
    with door.connect() as client:
        client.send(Hello(b"").records())
        assert client.receive_rest() in {
            alert_record(Alert.DECODE_ERROR),
            alert_record(Alert.UNRECOGNIZED_NAME),
        }
    assert not any(canary.is_contacted() for canary in canaries)


def test_no_name_reaches_nothing(door: Door, canaries: list[UnixListener]) -> None:
    with door.connect() as client:
        client.send(Hello(None).records())
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
    assert not any(canary.is_contacted() for canary in canaries)


@pytest.mark.parametrize(
    ("asked", "folder"),
    [
        ("one.example", "one.example"),
        ("ONE.EXAMPLE", "one.example"),
        ("oNe.eXaMpLe", "one.example"),
        ("localhost", "localhost"),
        ("xn--sr8hvo.ws", "xn--sr8hvo.ws"),
        ("XN--SR8HVO.WS", "xn--sr8hvo.ws"),
        (f"{LABEL}.example", f"{LABEL}.example"),
        (f"{LABEL}.{LABEL}.example", f"{LABEL}.{LABEL}.example"),
        (LONGEST, LONGEST),
        (LONGEST.upper(), LONGEST),
        ("a." * 126 + "a", "a." * 126 + "a"),
    ],
    ids=lambda name: f"{name[:20]}-{len(name)}",
)
def test_a_name_reaches_its_folder_and_no_other(
    asked: str, folder: str, door: Door, hosts: HostsDirectory
) -> None:
    hello = Hello(asked.encode()).records()
    neighbours = ["two.example", "b" + LONGEST[1:], LONGEST[:107], f"{LABEL}.{LABEL}.exampl"]
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(hosts.listen(name)) for name in neighbours]
        target = stack.enter_context(hosts.listen(folder))
        client = stack.enter_context(door.connect())
        client.send(hello)
        client.finish()
        served = stack.enter_context(target.accept())
        assert served.receive_rest() == hello
        assert not any(other.is_contacted() for other in others)
        served.close()
    assert door.wait_for_record()["name"] == folder


def test_a_folder_in_upper_case_is_nobody_s(door: Door, hosts: HostsDirectory) -> None:
    """One name has one folder: who owns the lower-case one owns the name."""
    with hosts.listen("ONE.EXAMPLE") as shadow, door.connect() as client:
        client.send(Hello(b"ONE.EXAMPLE").records())
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
        assert not shadow.is_contacted()


def test_a_link_out_of_the_directory_leads_nowhere(
    door: Door, hosts: HostsDirectory, canaries: list[UnixListener]
) -> None:
    (hosts.path / "absolute.example").symlink_to(hosts.path.parent / "outside")
    (hosts.path / "relative.example").symlink_to("../outside")
    for name in (b"absolute.example", b"relative.example"):
        with door.connect() as client:
            client.send(Hello(name).records())
            expect_alert(client, Alert.UNRECOGNIZED_NAME)
    assert not any(canary.is_contacted() for canary in canaries)
