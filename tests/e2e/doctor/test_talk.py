"""TLS and PROXY headers, where both sides have to agree: with a real nginx as the server."""

import subprocess
from pathlib import Path

import pytest
from tests.support.broken import Corner, codes, cure, examine
from tests.support.nginx_front import Nginx
from tests.support.waiting import wait_until

from cloister.diagnose.cloister import hosts_way
from cloister.diagnose.probes.host import HostProbes
from cloister.diagnose.target import Target, parse
from cloister.model.finding import Diagnosis


@pytest.fixture
def folder(corner: Corner) -> Path:
    """A host's folder of a hosts directory."""
    return corner.directory("hosts/www.example.org")


def serve(corner: Corner, path: Path, options: str, *, name: str = "backend") -> None:
    """nginx on ``path``, with ``ssl``, ``proxy_protocol``, both or neither."""
    pair = corner.directory(f"pair/{name}", uid=0)
    key, certificate = pair / "key.pem", pair / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-noenc", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*new, *files], check=True, capture_output=True)
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};" if "ssl" in options else ""
    Nginx(
        corner,
        f'server {{ listen unix:{path} {options}; {tls} location / {{ return 200 "ok"; }} }}',
        name=name,
    ).start()
    wait_until(path.exists, what="nginx's socket")


def host(path: Path) -> Target:
    with HostProbes() as probes:
        return hosts_way(parse(str(path)), probes)


def look(corner: Corner, path: Path) -> Diagnosis:
    return examine(host(path), corner.asker())


@pytest.mark.parametrize("proxy", ["", "v1", "v2"])
def test_a_host_whose_sides_agree(corner: Corner, folder: Path, proxy: str) -> None:
    serve(corner, folder / "tls-socket", "ssl proxy_protocol" if proxy else "ssl")
    if proxy:
        (folder / f"send-proxy-{proxy}").touch()
    assert look(corner, folder / "tls-socket").healthy


def test_a_header_that_the_server_expects(corner: Corner, folder: Path) -> None:
    serve(corner, folder / "tls-socket", "ssl proxy_protocol")
    diagnosis = look(corner, folder / "tls-socket")
    assert codes(diagnosis) == ["proxy-header-missing"]
    cure(diagnosis.findings[0])
    assert (folder / "send-proxy-v1").exists()
    assert look(corner, folder / "tls-socket").healthy


@pytest.mark.parametrize("proxy", ["v1", "v2"])
def test_a_header_that_the_server_does_not_expect(corner: Corner, folder: Path, proxy: str) -> None:
    serve(corner, folder / "tls-socket", "ssl")
    (folder / f"send-proxy-{proxy}").touch()
    diagnosis = look(corner, folder / "tls-socket")
    assert codes(diagnosis) == ["proxy-header-unexpected"]
    cure(diagnosis.findings[0])
    assert look(corner, folder / "tls-socket").healthy


def test_a_host_without_tls_and_with_a_header_too_many(corner: Corner, folder: Path) -> None:
    """Two at once: neither is understood before the other is mended."""
    serve(corner, folder / "tls-socket", "")
    (folder / "send-proxy-v1").touch()
    diagnosis = look(corner, folder / "tls-socket")
    assert codes(diagnosis) == ["proxy-header-unexpected", "tls-to-plain"]


def test_http_to_a_server_of_tls(corner: Corner) -> None:
    path = corner.directory("run") / "app.sock"
    serve(corner, path, "ssl")
    who = corner.asker()
    assert codes(examine(f"http://unix:{path}:/", who)) == ["plain-to-tls"]
    assert examine(f"https://unix:{path}:/", who).healthy


def test_a_server_that_says_nothing(corner: Corner) -> None:
    path = corner.directory("run") / "app.sock"
    server = corner.serve(path, accept=False)
    diagnosis = examine(f"http://unix:{path}:/", corner.asker())
    assert codes(diagnosis) == ["no-answer"]
    assert f"process {server.pid}" in diagnosis.findings[0].seen


def test_a_bare_socket_is_not_talked_to(corner: Corner) -> None:
    """Its protocol is not known: only the connection is tried."""
    path = corner.directory("run") / "app.sock"
    corner.serve(path, accept=False)
    assert examine(path, corner.asker()).healthy
