"""A DNS server that tests script while it runs: it rotates, fails, delays, truncates, lies.

``with DnsServer() as dns:`` serves on a free port of loopback; with ``port=53`` in a network
namespace (see :mod:`tests.support.namespaces`) it is the server that resolv.conf names.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from tests.support.dns_messages import Message, Question, Record, decode_question
from tests.support.waiting import wait_until

Failure = Literal["SERVFAIL", "REFUSED", "NXDOMAIN", "FORMERR", "silence", "truncate", "garbage"]
"""``silence`` answers nothing, ``truncate`` sets TC over UDP and answers over TCP, ``garbage``
answers bytes that are no DNS message."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question that arrived."""

    moment: float
    """time.monotonic()"""
    name: str
    kind: str
    over_tcp: bool


@dataclass(slots=True)
class _Rotation:
    """The records of one name and type."""

    values: Sequence[str]
    ttl: int
    subset: int | None
    turn: int = 0

    def next(self) -> list[str]:
        """The values, beginning one further each time; ``subset`` of them."""
        if not self.values:
            return []
        start = self.turn % len(self.values)
        self.turn += 1
        rotated = [*self.values[start:], *self.values[:start]]
        return rotated[: self.subset or len(rotated)]


class DnsServer:
    """Answers over UDP and TCP on the same port; every method may be called while it serves.

    It is authoritative for everything: a name without any record does not exist.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, negative_ttl: int = 1) -> None:
        self._lock = threading.Lock()
        self._zone: dict[tuple[str, str], _Rotation] = {}
        self._failures: dict[str, Failure] = {}
        self._delays: dict[str, float] = {}
        self._queries: list[Query] = []
        self.negative_ttl = negative_ttl
        """Seconds in the SOA record of a negative answer (RFC 2308 section 5)."""
        self._udp, self._tcp = _bind(host, port)
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._serve_udp, daemon=True),
            threading.Thread(target=self._serve_tcp, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it serves: host and port."""
        host, port = self._udp.getsockname()[:2]
        return str(host), int(port)

    def set(
        self,
        name: str,
        kind: str,
        values: Sequence[str],
        *,
        ttl: int = 1,
        subset: int | None = None,
    ) -> None:
        """Replaces the records of ``name``: addresses for A and AAAA, one name for CNAME,
        ``"priority weight port target"`` for SRV. An empty list means that the name exists
        without this type. ``subset``: so many of them, others each time."""
        with self._lock:
            self._zone[_absolute(name), kind] = _Rotation(list(values), ttl, subset)

    def remove(self, name: str) -> None:
        """From now on the name does not exist."""
        with self._lock:
            for key in [key for key in self._zone if key[0] == _absolute(name)]:
                del self._zone[key]

    def fail(self, failure: Failure | None, *, name: str = "") -> None:
        """Fails for one name, or for all; ``None`` ends it."""
        with self._lock:
            key = _absolute(name) if name else ""
            if failure is None:
                self._failures.pop(key, None)
            else:
                self._failures[key] = failure

    def delay(self, seconds: float, *, kind: str = "") -> None:
        """Answers questions (of one type, or all) this much later; 0 ends it."""
        with self._lock:
            self._delays[kind] = seconds

    def queries(self, name: str | None = None, kind: str | None = None) -> list[Query]:
        """What has been asked so far, in order."""
        with self._lock:
            found = list(self._queries)
        if name is not None:
            found = [query for query in found if query.name == _absolute(name)]
        return [query for query in found if kind in {None, query.kind}]

    def wait_for_queries(
        self, count: int, name: str | None = None, kind: str | None = None, *, seconds: float = 10.0
    ) -> list[Query]:
        """As :meth:`queries`, once there are that many."""
        what = f"{count} questions for {name or 'any name'}"
        wait_until(lambda: len(self.queries(name, kind)) >= count, seconds=seconds, what=what)
        return self.queries(name, kind)

    def close(self) -> None:
        """Stops serving and frees the port."""
        self._stopping = True
        # shutdown(2) wakes accept(2) and recvfrom(2); close(2) alone would not.
        for serving in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                serving.shutdown(socket.SHUT_RDWR)
            serving.close()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _serve_udp(self) -> None:
        while not self._stopping:
            try:
                wire, client = self._udp.recvfrom(4096)
            except OSError:
                return
            if not wire:
                continue
            threading.Thread(target=self._answer_udp, args=(wire, client), daemon=True).start()

    def _answer_udp(self, wire: bytes, client: object) -> None:
        answer = self._answer(wire, over_tcp=False)
        if answer is not None:
            with contextlib.suppress(OSError):  # closed, or the asker is gone
                self._udp.sendto(answer, client)  # type: ignore[arg-type]

    def _serve_tcp(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._answer_tcp, args=(connection,), daemon=True).start()

    def _answer_tcp(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            while len(head := stream.read(2)) == 2:
                wire = stream.read(struct.unpack("!H", head)[0])
                answer = self._answer(wire, over_tcp=True)
                if answer is not None:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, wire: bytes, *, over_tcp: bool) -> bytes | None:
        try:
            question = decode_question(wire)
        except (ValueError, IndexError, struct.error):
            return None
        with self._lock:
            query = Query(time.monotonic(), question.name, question.kind, over_tcp)
            self._queries.append(query)
            failure = self._failures.get(question.name, self._failures.get(""))
            delay = self._delays.get(question.kind, self._delays.get("", 0.0))
        if delay:
            time.sleep(delay)
        if failure == "silence":
            return None
        if failure == "garbage":
            return wire[:2] + b"\xff" * 30
        if failure == "truncate":
            message = self._look_up(question)
            return (message if over_tcp else Message(truncated=True)).encode(question)
        if failure is not None:
            return Message(rcode=failure, authorities=self._authority(question)).encode(question)
        answer = self._look_up(question).encode(question)
        if len(answer) > question.payload and not over_tcp:
            return Message(truncated=True).encode(question)
        return answer

    def _look_up(self, question: Question) -> Message:
        """Follows aliases within the zone, as a recursive server does."""
        with self._lock:
            name, answers = question.name, []
            for _ in range(16):
                alias = self._zone.get((name, "CNAME"))
                if alias is None or question.kind == "CNAME":
                    break
                target = alias.values[0]
                answers.append(Record(name, "CNAME", alias.ttl, target))
                name = _absolute(target)
            rotation = self._zone.get((name, question.kind))
            if rotation is not None:
                kind, ttl = question.kind, rotation.ttl
                answers += [Record(name, kind, ttl, value) for value in rotation.next()]
            exists = any(key[0] == name for key in self._zone)
        if rotation is not None and rotation.values:
            return Message(answers=answers)
        rcode = "NOERROR" if exists else "NXDOMAIN"
        return Message(rcode=rcode, answers=answers, authorities=self._authority(question))

    def _authority(self, question: Question) -> list[Record]:
        zone = question.name.rstrip(".").rpartition(".")[2] + "."
        return [Record(zone, "SOA", self.negative_ttl, f"ns.{zone} {self.negative_ttl}")]


def _absolute(name: str) -> str:
    return name.lower().rstrip(".") + "."


def _bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP on one port; a free one may be free for one of them only."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(20):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((host, port))
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            if port:
                raise
            continue
        tcp.listen(64)
        return udp, tcp
    raise OSError("no port is free for both UDP and TCP")
