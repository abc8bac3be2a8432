"""A local certificate authority, for applications whose ``tls`` is ``self-signed``.

The authority lives in ``<state>/authority``: ``ca.pem``, which clients may trust, and
``ca.key``, which never leaves that folder. Where new names take another authority, the one
before stays in ``ca.pem``: applications that run have leaves of it. It can sign for the
configured names alone (RFC 5280, section 4.2.1.10), so trusting it is not trusting it with
the whole web.
Applications' own certificates and keys exist in memory only.

Run as ``python -m cloister.apps.authority`` by ``cloister.apps.certificates``: it reads a
request from standard input and answers on standard output. So the authority's key is in
memory for a fraction of a second only, and the supervisor never loads ``cryptography``.
"""

import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cloister import wire
from cloister.apps.certificates import Issued, Leaf, Refused, Reply, Request
from cloister.model.errors import CloisterError

AUTHORITY_LIFE = timedelta(days=5 * 365)
AUTHORITY_RENEWAL = timedelta(days=120)
"""An authority with less left is replaced: a leaf must not outlive it."""
LEAF_LIFE = timedelta(days=90)
EARLIER = 3
"""Replaced authorities that stay in ``ca.pem``, behind the one that signs."""
_CLOCK_SKEW = timedelta(hours=1)
_LOCAL = "localhost"


class Authority:
    """Signs leaves for the names that it is constrained to."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: EllipticCurvePrivateKey,
        path: str,
        *,
        replaced: bool = False,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self.path = path
        """Of the certificate that clients may trust."""
        self.replaced = replaced
        """Whether an earlier authority was replaced: clients have to trust the new one."""

    @classmethod
    def open(cls, folder: str, hosts: Iterable[str], *, now: datetime | None = None) -> "Authority":
        """The authority in ``folder``, made where there is none, and made anew where the
        old one may not sign for all ``hosts``, is near its end or cannot be read.

        Blocks for some file operations. Raises :class:`CloisterError`.
        """
        now = now or datetime.now(UTC)
        directory = Path(folder)
        domains = permitted_domains(hosts)
        existing = _read(directory)
        if existing is not None:
            certificate, key = existing
            permitted = _permitted(certificate)
            lasts = certificate.not_valid_after_utc - now > AUTHORITY_RENEWAL
            if lasts and domains <= permitted:
                return cls(certificate, key, str(directory / "ca.pem"))
            domains |= permitted
        certificate, key = _make_authority(domains, now)
        _write(directory, certificate, key, _earlier(directory, now))
        return cls(certificate, key, str(directory / "ca.pem"), replaced=existing is not None)

    def issue(self, hosts: Sequence[str], *, now: datetime | None = None) -> Leaf:
        """A new key, and a certificate for ``hosts``; ``*`` stands for ``localhost``."""

        now = now or datetime.now(UTC)
        names = dict.fromkeys(_LOCAL if host == "*" else host for host in hosts) or {_LOCAL: None}
        key = generate_private_key(SECP256R1())
        # A common name has 64 characters at most (RFC 5280, appendix A.1); the alternative
        # names are what counts, and critical where there is no subject (section 4.2.1.6).
        first = next(iter(names))
        subject = _name(first) if len(first) <= 64 else x509.Name([])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
                critical=not list(subject),
            )
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Leaf(certificate.public_bytes(Encoding.PEM).decode(), _private_pem(key).decode())


def permitted_domains(hosts: Iterable[str]) -> set[str]:
    """The domains that an authority for ``hosts`` must be allowed to sign for. A domain
    covers itself and every name below it (RFC 5280, section 4.2.1.10).
    """
    return {_LOCAL} | {host.removeprefix("*.") for host in hosts if host != "*"}


def _permitted(certificate: x509.Certificate) -> set[str]:

    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return set()
    return {
        subtree.value
        for subtree in constraints.permitted_subtrees or ()
        if isinstance(subtree, x509.DNSName)
    }


def _make_authority(
    domains: set[str], now: datetime
) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:

    key = generate_private_key(SECP256R1())
    # Distinct names keep apart the authorities of several hosts, and of one host in time.
    name = _name(f"Cloister on {socket.gethostname()} {now:%Y-%m-%d}"[:64])
    everything = [
        x509.IPAddress(IPv4Network("0.0.0.0/0")),
        x509.IPAddress(IPv6Network("::/0")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.NameConstraints(
                permitted_subtrees=[x509.DNSName(domain) for domain in sorted(domains)],
                excluded_subtrees=everything,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _name(common: str) -> x509.Name:

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:

    return key.private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        NoEncryption(),
    )


def _read(directory: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey] | None:

    try:
        certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        key = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(directory, error) from error
    except (ValueError, TypeError):
        return None  # cut short or foreign: a new one takes its place
    if not isinstance(key, EllipticCurvePrivateKey):
        return None
    if key.public_key() != certificate.public_key():
        return None
    return certificate, key


def _earlier(directory: Path, now: datetime) -> list[x509.Certificate]:
    """Authorities that are followed by another one: leaves that they have signed are in use
    until their applications are restarted."""
    try:
        known = x509.load_pem_x509_certificates((directory / "ca.pem").read_bytes())
    except (OSError, ValueError):
        return []
    return [one for one in known if one.not_valid_after_utc > now][:EARLIER]


def _write(
    directory: Path,
    certificate: x509.Certificate,
    key: EllipticCurvePrivateKey,
    earlier: Iterable[x509.Certificate],
) -> None:

    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Between the two a crash leaves a pair that does not match, which is made anew.
        _replace(directory / "ca.key", _private_pem(key), 0o600)
        bundle = b"".join(one.public_bytes(Encoding.PEM) for one in (certificate, *earlier))
        _replace(directory / "ca.pem", bundle, 0o644)
    except OSError as error:
        raise _unusable(directory, error) from error


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Writes a file that is either the old one or the new one, with its mode from the start."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _unusable(directory: Path, error: OSError) -> CloisterError:
    return CloisterError(
        f"the local certificate authority in {directory} cannot be used",
        why=str(error),
        hint="set `state-directory` in [cloister] to a folder that this user can write",
    )


def answer(request: Request) -> Reply:
    """Does what a request asks."""
    try:
        hosts = [host for group in request.groups for host in group]
        authority = Authority.open(request.folder, hosts)
    except CloisterError as error:
        return Refused(error.what, error.why, error.hint)
    leaves = tuple(authority.issue(group) for group in request.groups)
    return Issued(authority.path, authority.replaced, leaves)


if __name__ == "__main__":
    sys.stdout.buffer.write(wire.encode(answer(wire.decode(Request, sys.stdin.buffer.read()))))
