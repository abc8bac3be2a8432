"""The local authority, judged by OpenSSL."""

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.apps.authority import LEAF_LIFE, Authority, permitted_domains
from cloister.apps.certificates import Leaf
from cloister.model.errors import CloisterError

HOSTS = ["one.example", "*.two.example", "*"]


def accepts(authority: Authority, leaf: Leaf, name: str) -> bool:
    """Whether a client that trusts the authority takes the leaf for ``name``: a handshake in
    memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = Path(authority.path).parent
    pem = folder / "leaf.pem"
    pem.write_text(leaf.certificate + leaf.key)
    server.load_cert_chain(pem)
    pem.unlink()
    client = ssl.create_default_context(cafile=authority.path)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return ours.version() is not None


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(str(tmp_path / "authority"), HOSTS)


@pytest.mark.parametrize(
    ("hosts", "name", "accepted"),
    [
        (["one.example"], "one.example", True),
        (["one.example"], "two.example", False),
        (["*.two.example", "one.example"], "a.two.example", True),
        (["*.two.example"], "a.b.two.example", False),
        (["*"], "localhost", True),
        (["deep.one.example"], "deep.one.example", True),
        # The constraint: an authority that somebody stole cannot speak for the whole web.
        (["bank.example"], "bank.example", False),
        (["notone.example"], "notone.example", False),
    ],
)
def test_what_clients_accept(
    authority: Authority, hosts: list[str], name: str, accepted: bool
) -> None:
    assert accepts(authority, authority.issue(hosts), name) is accepted


def test_a_name_too_long_for_a_common_name(tmp_path: Path) -> None:
    name = ".".join(["x" * 60] * 3) + ".example"
    authority = Authority.open(str(tmp_path), [name])
    assert accepts(authority, authority.issue([name]), name)


def test_the_domains_that_an_authority_needs() -> None:
    assert permitted_domains(HOSTS) == {"localhost", "one.example", "two.example"}


def test_only_the_certificate_is_open_to_others(authority: Authority) -> None:
    certificate = Path(authority.path)
    assert certificate.stat().st_mode & 0o777 == 0o644
    assert (certificate.parent / "ca.key").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in certificate.parent.iterdir()} == {"ca.pem", "ca.key"}


def test_it_stays_the_same(authority: Authority) -> None:
    before = Path(authority.path).read_bytes()
    again = Authority.open(str(Path(authority.path).parent), ["one.example"])
    assert Path(again.path).read_bytes() == before
    assert not again.replaced
    assert accepts(again, again.issue(["one.example"]), "one.example")


def test_a_new_domain_needs_a_new_authority_which_covers_the_old_ones(
    authority: Authority,
) -> None:
    again = Authority.open(str(Path(authority.path).parent), ["three.example"])
    assert again.replaced
    for name in ("one.example", "three.example"):
        assert accepts(again, again.issue([name]), name)


def test_one_near_its_end_is_replaced(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    Authority.open(str(tmp_path), HOSTS, now=now - timedelta(days=5 * 365 - 100))
    again = Authority.open(str(tmp_path), HOSTS, now=now)
    assert again.replaced
    assert accepts(again, again.issue(["one.example"]), "one.example")


def test_a_leaf_that_has_expired_is_refused(authority: Authority) -> None:
    leaf = authority.issue(["one.example"], now=datetime.now(UTC) - LEAF_LIFE - timedelta(days=1))
    assert not accepts(authority, leaf, "one.example")


@pytest.mark.parametrize("damaged", ["ca.pem", "ca.key"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN NOTHING-----\n"])
def test_a_damaged_one_is_made_anew(authority: Authority, damaged: str, content: bytes) -> None:
    folder = Path(authority.path).parent
    (folder / damaged).write_bytes(content)
    again = Authority.open(str(folder), HOSTS)
    assert accepts(again, again.issue(["one.example"]), "one.example")


def test_a_pair_that_does_not_match_is_made_anew(authority: Authority, tmp_path: Path) -> None:
    folder = Path(authority.path).parent
    other = Authority.open(str(tmp_path / "other"), HOSTS)
    (folder / "ca.key").write_bytes((Path(other.path).parent / "ca.key").read_bytes())
    again = Authority.open(str(folder), HOSTS)
    assert accepts(again, again.issue(["one.example"]), "one.example")


def test_openssl_reads_what_a_person_would_look_at(authority: Authority) -> None:
    text = subprocess.check_output(
        ["openssl", "x509", "-in", authority.path, "-noout", "-text"], text=True
    )
    assert "CA:TRUE, pathlen:0" in text
    assert "X509v3 Name Constraints: critical" in text
    assert "DNS:one.example" in text


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CloisterError, match="cannot be used") as raised:
        Authority.open(str(tmp_path / "file" / "authority"), HOSTS)
    assert raised.value.hint is not None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
