"""curl, openssl s_client and Python's ssl, each through the door to a real TLS server."""

import contextlib
import hashlib
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.certificates import Authority
from tests.support.door import Door, connect
from tests.support.peers import HostsDirectory
from tests.support.streams import DIGEST, Stream
from tests.support.tls import TlsOptions, TlsServer, client_context

REQUEST = b"GET / HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def serving(
    hosts: HostsDirectory, authority: Authority, name: str, options: TlsOptions | None = None
) -> Iterator[TlsServer]:
    with (
        hosts.listen(name) as listener,
        TlsServer(listener, authority.server(name), authority, options or TlsOptions()) as server,
    ):
        yield server


def port(door: Door) -> int:
    return int(door.listening.getsockname()[1])


def curl(door: Door, authority: Authority, url: str, *options: str) -> bytes:
    """The body that curl gets; it resolves every name to the door."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30"]
    command += ["--noproxy", "*", "--cacert", str(authority.certificate)]
    host = "[::1]" if door.listening.family == socket.AF_INET6 else "127.0.0.1"
    command += ["--connect-to", f"::{host}:{port(door)}", *options, url]
    return subprocess.run(command, check=True, capture_output=True, timeout=40).stdout


def s_client(door: Door, authority: Authority, *options: str) -> tuple[dict[str, Any], str]:
    """The answer to a request that openssl s_client sends, and what it says itself."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port(door)}"]
    command += ["-servername", "one.example", "-verify_hostname", "one.example"]
    command += ["-CAfile", str(authority.certificate), "-verify_return_error", "-ign_eof"]
    result = subprocess.run(
        [*command, *options], check=True, input=REQUEST, capture_output=True, timeout=40
    )
    text = result.stdout.decode()
    answer = re.search(r"^\{.*?\}", text, re.MULTILINE)
    assert answer, text
    return json.loads(answer[0]), text


def test_curl_reaches_each_host_by_its_name(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    with serving(hosts, authority, "one.example"), serving(hosts, authority, "two.example"):
        for name in ("one.example", "two.example"):
            answer = json.loads(curl(door, authority, f"https://{name}/from/{name}"))
            assert answer["path"] == f"/from/{name}"
            assert answer["alpn"] == "http/1.1"
    records = door.wait_for_records(2)
    assert {record["name"] for record in records} == {"one.example", "two.example"}
    assert all(record["alpn"] == ["h2", "http/1.1"] for record in records)
    # curl does not wait for the server's close_notify, which may find it gone.
    assert {record["outcome"] for record in records} <= {"complete", "client-aborted"}


def test_curl_without_alpn_and_by_tls_1_2(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    with serving(hosts, authority, "one.example"):
        body = curl(door, authority, "https://one.example/", "--no-alpn", "--tls-max", "1.2")
    answer = json.loads(body)
    assert (answer["version"], answer["alpn"]) == ("TLSv1.2", None)
    assert door.wait_for_record()["alpn"] == []


def test_curl_says_that_a_name_is_unknown(door: Door, authority: Authority) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        curl(door, authority, "https://nobody.example/")
    assert failure.value.returncode == 35  # curl(1): a problem in the TLS handshake
    assert b"unrecognized name" in failure.value.stderr


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_openssl_in_both_versions(
    option: str, version: str, door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    with serving(hosts, authority, "one.example"):
        answer, text = s_client(door, authority, option)
    assert answer["version"] == version
    assert "Verification: OK" in text


def test_a_server_may_insist_on_tls_1_2(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    options = TlsOptions(maximum=ssl.TLSVersion.TLSv1_2)
    with serving(hosts, authority, "one.example", options):
        answer, _ = s_client(door, authority)
    assert answer["version"] == "TLSv1.2"


def test_the_server_chooses_the_protocol(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    options = TlsOptions(alpn=("acme-tls/1", "h2"))
    with serving(hosts, authority, "one.example", options):
        answer, text = s_client(door, authority, "-alpn", "http/1.1,h2,acme-tls/1")
    assert answer["alpn"] == "acme-tls/1"
    assert "ALPN protocol: acme-tls/1" in text
    assert door.wait_for_record()["alpn"] == ["http/1.1", "h2", "acme-tls/1"]


@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_a_client_certificate_reaches_the_server(
    option: str, door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    pair = authority.client("alice")
    with serving(hosts, authority, "one.example", TlsOptions(client_certificate=True)):
        answer, _ = s_client(
            door, authority, option, "-cert", str(pair.certificate), "-key", str(pair.key)
        )
    assert answer["client"] == "alice"


def test_a_client_without_the_certificate_is_refused_by_the_server(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    options = TlsOptions(client_certificate=True)
    with (
        serving(hosts, authority, "one.example", options),
        pytest.raises(subprocess.CalledProcessError) as failure,
    ):
        curl(door, authority, "https://one.example/", "--no-alpn")
    assert b"certificate required" in failure.value.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_resumes_a_session(
    version: ssl.TLSVersion, door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    context = client_context(authority)
    context.minimum_version = context.maximum_version = version
    with serving(hosts, authority, "one.example"):
        first, session = ask(door, context, None)
        second, _ = ask(door, context, session)
    assert (first["resumed"], second["resumed"]) == (False, True)
    assert second["version"] == version.name.replace("TLSv1_", "TLSv1.")


def ask(
    door: Door, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[dict[str, Any], ssl.SSLSession | None]:
    with context.wrap_socket(
        connect(door.listening), server_hostname="one.example", session=session
    ) as secured:
        secured.sendall(REQUEST)
        answer = read_body(secured)
        return json.loads(answer), secured.session


def read_body(secured: ssl.SSLSocket) -> bytes:
    received = b""
    while chunk := secured.recv(1 << 16):
        received += chunk
    return received.partition(b"\r\n\r\n")[2]


def test_the_end_of_tls_arrives_in_both_directions(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    """close_notify (RFC 8446 section 6.1) and the end of TCP both come through; a door that
    cuts a connection short shows as a truncation, which Python raises as an error."""
    with serving(hosts, authority, "one.example") as server:
        for _ in range(20):
            answer, _ = ask(door, client_context(authority), None)
            assert answer["path"] == "/"
        assert server.errors == []


def test_many_clients_download_by_tls_at_once(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    """16 MiB each by real TLS, whose own authentication of each record would break too."""
    length, context = 16 << 20, client_context(authority)

    def download(key: int) -> str:
        state, remaining = hashlib.new(DIGEST), length
        request = f"GET /stream/{key}/{length} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
        with context.wrap_socket(connect(door.listening), server_hostname="one.example") as secured:
            secured.sendall(request)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += secured.recv(1)
            while remaining:
                chunk = secured.recv(1 << 14)
                assert chunk, f"{remaining} bytes are missing"
                state.update(chunk)
                remaining -= len(chunk)
        return state.hexdigest()

    keys = range(8)
    with (
        serving(hosts, authority, "one.example"),
        ThreadPoolExecutor(len(keys)) as pool,
    ):
        received = list(pool.map(download, keys))
    assert received == [Stream(key).digest(length) for key in keys]


def test_curl_by_ipv6(
    start_door: StartDoor,
    listening_ipv6: socket.socket,
    hosts: HostsDirectory,
    authority: Authority,
) -> None:
    door = start_door(on=listening_ipv6)
    with serving(hosts, authority, "one.example"):
        body = curl(door, authority, "https://one.example/")
    assert json.loads(body)["path"] == "/"
    assert door.wait_for_record()["client"].startswith("[::1]:")
