"""Builds ClientHellos byte by byte (RFC 8446 section 4.1.2) and cuts them into records."""

import itertools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

HANDSHAKE = 22
CLIENT_HELLO = 1

SERVER_NAME = 0
SUPPORTED_GROUPS = 10
SIGNATURE_ALGORITHMS = 13
ALPN = 16
SUPPORTED_VERSIONS = 43
KEY_SHARE = 51

X25519 = 0x001D
X25519_MLKEM768 = 0x11EC
"""The post-quantum hybrid group of today's browsers; its client share has 1216 bytes."""

Extension = tuple[int, bytes]


def vector8(content: bytes) -> bytes:
    """A vector with one byte of length."""
    return struct.pack(">B", len(content)) + content


def vector16(content: bytes) -> bytes:
    """A vector with two bytes of length."""
    return struct.pack(">H", len(content)) + content


@dataclass(frozen=True, slots=True)
class Hello:
    """One ClientHello. Its random is fixed: equal values are equal bytes."""

    name: bytes | None = b"one.example"
    """The server name; ``None`` leaves the extension out."""
    alpn: tuple[bytes, ...] = ()
    post_quantum: bool = False
    """Whether to offer a key share of 1216 bytes, as browsers do."""
    padding: int = 0
    """Bytes of a padding extension (RFC 7685), its header not counted; 0 leaves it out."""
    extra: tuple[Extension, ...] = ()
    """Further extensions, before all others."""

    def extensions(self) -> list[Extension]:
        found: list[Extension] = list(self.extra)
        if self.name is not None:
            found.append((SERVER_NAME, vector16(b"\x00" + vector16(self.name))))
        if self.alpn:
            found.append((ALPN, vector16(b"".join(map(vector8, self.alpn)))))
        shares = [(X25519, bytes(range(32)))]
        if self.post_quantum:
            shares.insert(0, (X25519_MLKEM768, bytes(index * 7 % 256 for index in range(1216))))
        groups = b"".join(struct.pack(">H", group) for group, _ in shares)
        found += [
            (SUPPORTED_VERSIONS, vector8(b"\x03\x04\x03\x03")),
            (SUPPORTED_GROUPS, vector16(groups)),
            (SIGNATURE_ALGORITHMS, vector16(b"\x04\x03\x08\x04\x04\x01")),
            (
                KEY_SHARE,
                vector16(
                    b"".join(struct.pack(">H", group) + vector16(key) for group, key in shares)
                ),
            ),
        ]
        if self.padding:
            found.append((21, bytes(self.padding)))
        return found

    def message(self) -> bytes:
        """The handshake message, without any record header."""
        body = b"\x03\x03" + bytes(range(100, 132)) + vector8(bytes(range(32)))
        body += vector16(b"\x13\x01\x13\x02\xc0\x2f") + vector8(b"\x00")
        body += vector16(
            b"".join(struct.pack(">H", kind) + vector16(data) for kind, data in self.extensions())
        )
        return struct.pack(">B", CLIENT_HELLO) + struct.pack(">I", len(body))[1:] + body

    def records(self) -> bytes:
        """The message in one record, as clients send it."""
        return record(self.message())

    def of_length(self, length: int) -> "Hello":
        """The same hello, padded so that its message has ``length`` bytes."""
        missing = length - len(self.message()) - 4
        assert missing > 0, f"the hello has more than {length - 4} bytes without padding"
        return replace(self, padding=missing)


def record(content: bytes, *, kind: int = HANDSHAKE, version: int = 0x0301) -> bytes:
    """One record with this content, of whatever length."""
    return struct.pack(">BHH", kind, version, len(content)) + content


def cut_into_records(message: bytes, cuts: Iterable[int]) -> bytes:
    """The message in records that begin at 0 and at each of ``cuts``."""
    bounds = [0, *sorted(cuts), len(message)]
    return b"".join(record(message[begin:end]) for begin, end in itertools.pairwise(bounds))


def records_of(message: bytes, length: int) -> bytes:
    """The message in records of ``length`` bytes; the last one may be shorter."""
    return cut_into_records(message, range(length, len(message), length))


def browser_hello(name: bytes = b"one.example", *, alpn: Sequence[bytes] = ()) -> Hello:
    """A hello like a browser's of today: about 1,800 bytes with its post-quantum share."""
    offered = tuple(alpn) or (b"h2", b"http/1.1")
    return Hello(name, alpn=offered, post_quantum=True).of_length(1_800)
