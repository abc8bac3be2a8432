"""DNS messages on the wire (RFC 1035 section 4), just enough to answer a resolver in tests."""

import ipaddress
import struct
from dataclasses import dataclass, field

A, CNAME, SOA, AAAA, SRV, OPT = 1, 5, 6, 28, 33, 41
"""Record types (RFC 1035, 3596, 2782, 6891)."""

TYPES = {"A": A, "CNAME": CNAME, "SOA": SOA, "AAAA": AAAA, "SRV": SRV}
NAMES = {number: name for name, number in TYPES.items()}

RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}


@dataclass(frozen=True, slots=True)
class Question:
    """What a message asks; ``name`` in lower case with the trailing dot."""

    identity: int
    flags: int
    name: str
    kind: str
    """``A``, ``AAAA``, ... or ``TYPE<n>``."""
    section: bytes
    """The question section as it came, to be sent back."""
    payload: int
    """The largest UDP answer that the asker takes: 512 without EDNS (RFC 6891 section 6.2.3)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record of class IN. ``data`` is text: an address, a name, or
    ``"priority weight port target"`` for SRV; ``minimum`` of the SOA is its negative TTL."""

    name: str
    kind: str
    ttl: int
    data: str

    def encode(self) -> bytes:
        data = self._data()
        head = struct.pack("!HHIH", TYPES[self.kind], 1, self.ttl, len(data))
        return encode_name(self.name) + head + data

    def _data(self) -> bytes:
        if self.kind in {"A", "AAAA"}:
            return ipaddress.ip_address(self.data).packed
        if self.kind == "CNAME":
            return encode_name(self.data)
        if self.kind == "SRV":
            priority, weight, port, target = self.data.split()
            head = struct.pack("!HHH", int(priority), int(weight), int(port))
            return head + encode_name(target)
        primary, minimum = self.data.split()  # SOA
        numbers = struct.pack("!IIIII", 1, 3600, 600, 86400, int(minimum))
        return encode_name(primary) + encode_name("hostmaster." + primary) + numbers


@dataclass(frozen=True, slots=True)
class Message:
    """An answer: its code and its records."""

    rcode: str = "NOERROR"
    answers: list[Record] = field(default_factory=list)
    authorities: list[Record] = field(default_factory=list)
    truncated: bool = False

    def encode(self, question: Question) -> bytes:
        """With the question's identity: QR, AA and RA set, RD copied."""
        flags = 0x8480 | (question.flags & 0x0100) | RCODES[self.rcode]
        answers, authorities = self.answers, self.authorities
        if self.truncated:
            flags, answers, authorities = flags | 0x0200, [], []
        head = struct.pack(
            "!HHHHHH", question.identity, flags, 1, len(answers), len(authorities), 0
        )
        records = b"".join(record.encode() for record in (*answers, *authorities))
        return head + question.section + records


def encode_name(name: str) -> bytes:
    """Labels with their lengths, uncompressed."""
    labels = [label.encode() for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_question(wire: bytes) -> Question:
    """Raises ValueError for anything but one plain question."""
    if len(wire) < 12:
        raise ValueError("shorter than a header")
    identity, flags, questions, _, _, additional = struct.unpack_from("!HHHHHH", wire)
    if questions != 1:
        raise ValueError(f"{questions} questions")
    position, labels = 12, []
    while wire[position]:
        length = wire[position]
        labels.append(wire[position + 1 : position + 1 + length].decode())
        position += 1 + length
    (number,) = struct.unpack_from("!H", wire, position + 1)
    end = position + 5
    payload = 512
    # An OPT record is the root's: a zero, its type, and the payload in place of a class.
    if additional and wire[end : end + 3] == b"\0" + struct.pack("!H", OPT):
        (payload,) = struct.unpack_from("!H", wire, end + 3)
    name = ".".join(labels).lower() + "."
    kind = NAMES.get(number, f"TYPE{number}")
    return Question(identity, flags, name, kind, wire[12:end], max(payload, 512))
