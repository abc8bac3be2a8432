"""Keyed conversations: both directions carry bytes that depend on key and position.

Whatever a relay mixes up, loses, repeats or reorders shows at its first byte, and neither
end can take a part for the whole: the lengths are announced, and the target's last bytes
are its verdict. Runs on the standard library alone, since targets run in cells.
"""

import asyncio
import contextlib
import enum
import functools
import random
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

MAGIC = b"keyed\x00\x01\x00"
_HEADER = struct.Struct("!8sQQQB")
_GOOD = b"verdict: good\r\n\x00"
_BAD = b"verdict: BAD\r\n\x00\x00"
_PERIOD = 1_048_573
_PIECE = 64 * 1024
_PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"


class Style(enum.IntFlag):
    """How a conversation goes; both directions at once unless told otherwise."""

    PLAIN = 0
    ANSWER_AFTER_END = 1
    """The target sends nothing before the client has ended its direction."""
    SLOW_TARGET = 2
    """The target reads in small pieces with pauses."""
    SLOW_CLIENT = 4
    """The client does."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a client announces. ``up`` and ``down`` are bytes."""

    key: int
    up: int
    down: int
    style: Style = Style.PLAIN

    def header(self) -> bytes:
        return _HEADER.pack(MAGIC, self.key, self.up, self.down, self.style)


class Outcome(enum.Enum):
    """How a conversation ended, as its client sees it."""

    COMPLETE = "complete"
    """Every byte of both directions, and then the end."""
    CUT = "cut"
    """It ended early, and could not be taken for complete."""
    ALERT = "alert"
    """The door answered with a TLS alert, before any byte of the target."""
    REFUSED = "refused"
    """Nobody listened."""
    STALLED = "stalled"
    """Nothing happened any more."""
    WRONG = "wrong"
    """A byte that was not sent, or one too many."""


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    detail: str
    received: int


class WrongByteError(Exception):
    """A byte that does not belong where it is."""


@functools.cache
def _block() -> bytes:
    block = random.Random(_PERIOD).randbytes(_PERIOD)
    return block + block[:_PIECE]


def piece(key: int, start: int, length: int) -> bytes:
    """At most 64 KiB of stream ``key`` from byte ``start``."""
    offset = (key * 7919 + start) % _PERIOD
    return _block()[offset : offset + min(length, _PIECE)]


class AlertError(Exception):
    """A TLS alert instead of the target's first byte."""


class Check:
    """Compares what arrives with a stream of ``length`` bytes."""

    def __init__(self, key: int, length: int) -> None:
        self._key = key
        self._length = length
        self.position = 0

    @property
    def missing(self) -> int:
        return self._length - self.position

    def feed(self, data: bytes) -> None:
        """At most the missing bytes. Raises :class:`WrongByteError`."""
        view = memoryview(data)
        while view:
            expected = piece(self._key, self.position, len(view))
            if view[: len(expected)] != expected:
                place = next(i for i, byte in enumerate(expected) if view[i] != byte)
                raise WrongByteError(f"byte {self.position + place} of {self._length}")
            self.position += len(expected)
            view = view[len(expected) :]


def _downward(key: int) -> int:
    """The other direction is another stream."""
    return key ^ 0x5555


async def converse(
    open_connection: Callable[
        [], "asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]"
    ],
    conversation: Conversation,
    *,
    preface: bytes = b"",
    patience: float = 60.0,
) -> Result:
    """The client's side. ``preface`` goes before everything, as a hello does; nothing may
    happen for at most ``patience`` seconds in all."""
    check = Check(_downward(conversation.key), conversation.down)
    try:
        async with asyncio.timeout(patience):
            reader, writer = await open_connection()
            try:
                return await _as_client(reader, writer, conversation, preface, check)
            finally:
                writer.close()
    except ConnectionRefusedError as error:
        return Result(Outcome.REFUSED, str(error), 0)
    except TimeoutError:
        return Result(Outcome.STALLED, f"{check.missing} bytes missing", check.position)
    except OSError as error:
        return Result(Outcome.CUT, str(error), check.position)
    except AlertError as error:
        return Result(Outcome.ALERT, str(error), 0)
    except WrongByteError as error:
        return Result(Outcome.WRONG, str(error), check.position)


async def _as_client(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    conversation: Conversation,
    preface: bytes,
    check: Check,
) -> Result:
    slow = Style.SLOW_CLIENT in conversation.style

    async def send() -> None:
        writer.write(preface + conversation.header())
        await _send(writer, conversation.key, conversation.up)
        writer.write_eof()

    sending = asyncio.ensure_future(send())
    try:
        # A fatal alert of two bytes in a record of its own (RFC 8446 section 6); anything
        # else is longer.
        head = await _exactly(reader, 7)
        if head.startswith(b"\x15\x03") and head[3:5] == b"\x00\x02":
            raise AlertError(f"alert {head[6]}")
        early = head[conversation.down :]
        check.feed(head[: conversation.down])
        await _receive(reader, check, slow=slow)
        if check.missing:
            return Result(Outcome.CUT, f"{check.missing} bytes missing", check.position)
        verdict = early + await _exactly(reader, len(_GOOD) - len(early))
        if verdict == _BAD:
            return Result(Outcome.WRONG, "the target received a wrong byte", check.position)
        if len(verdict) < len(_GOOD) and _GOOD.startswith(verdict):
            return Result(Outcome.CUT, "no verdict", check.position)
        if verdict != _GOOD:
            return Result(Outcome.WRONG, f"verdict {verdict!r}", check.position)
        if rest := await reader.read(1):
            return Result(Outcome.WRONG, f"a byte too many: {rest!r}", check.position)
        await sending
        return Result(Outcome.COMPLETE, "", check.position)
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await sending


async def _send(writer: asyncio.StreamWriter, key: int, length: int) -> None:
    position = 0
    while position < length:
        data = piece(key, position, length - position)
        writer.write(data)
        position += len(data)
        await writer.drain()


async def _receive(reader: asyncio.StreamReader, check: Check, *, slow: bool) -> None:
    """Until nothing is missing, or the end."""
    while check.missing:
        data = await reader.read(min(check.missing, 1 << 10 if slow else _PIECE))
        if not data:
            return
        check.feed(data)
        if slow:
            await asyncio.sleep(0.005)


async def _exactly(reader: asyncio.StreamReader, length: int) -> bytes:
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The target's side of one connection; skips a PROXY header and a hello before it."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        try:
            await _as_target(reader, writer)
        finally:
            writer.close()
            # What it has written may still be on its way out: a server that ends waits for it.
            await writer.wait_closed()


async def _as_target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    header = await _skip_prefaces(reader)
    magic, key, up, down, style = _HEADER.unpack(header)
    if magic != MAGIC:
        writer.write(_BAD)
        return
    after = Style.ANSWER_AFTER_END in Style(style)
    check = Check(key, up)
    sending = None if after else asyncio.ensure_future(_send(writer, _downward(key), down))
    try:
        await _receive(reader, check, slow=Style.SLOW_TARGET in Style(style))
        if check.missing:
            return
        good = not await reader.read(1)
        if sending is None:
            await _send(writer, _downward(key), down)
        else:
            await sending
        writer.write(_GOOD if good else _BAD)
        writer.write_eof()
        await writer.drain()
    except WrongByteError:
        if sending is not None:
            await sending
        writer.write(_BAD)
    finally:
        if sending is not None:
            sending.cancel()


async def _skip_prefaces(reader: asyncio.StreamReader) -> bytes:
    """The header of the conversation, whatever came before it."""
    first = await reader.readexactly(8)
    if first.startswith(b"PROXY "):
        await reader.readuntil(b"\r\n")
        first = await reader.readexactly(8)
    elif first == _PROXY_V2[:8]:
        rest = await reader.readexactly(8)
        await reader.readexactly(int.from_bytes(rest[6:8]))
        first = await reader.readexactly(8)
    if first[0] == 22:  # a TLS record of the handshake
        await reader.readexactly(int.from_bytes(first[3:5]) - 3)
        first = await reader.readexactly(8)
    return first + await reader.readexactly(_HEADER.size - 8)


async def serve_socket(listening: socket.socket) -> None:
    """Serves conversations on a listening socket until SIGTERM, and those under way to their
    ends."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await asyncio.start_server(serve, sock=listening, backlog=4096)
    await stopped.wait()
    # A closed server refuses, with a failed assertion that nobody sees, a connection that was
    # accepted in the same turn of the loop: `asyncio.base_events.Server._attach`. So first
    # none is accepted any more, and one turn later all that were are known to the server.
    loop.remove_reader(listening)
    await asyncio.sleep(0)
    server.close()
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


def main() -> None:
    """A target on descriptor 3 (sd_listen_fds(3)); with the argument ``handoff`` one that
    connections are handed off to."""
    listening: socket.socket
    if sys.argv[1:] == ["handoff"]:
        from cloister.handoff import HandoffListener  # noqa: PLC0415 - not there in a cell

        listening = HandoffListener(fileno=3)
    else:
        listening = socket.socket(fileno=3)
    listening.setblocking(False)
    asyncio.run(serve_socket(listening))


if __name__ == "__main__":
    main()
