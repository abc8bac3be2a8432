"""The control socket to one door: requests, replies, and what happens when it dies."""

import asyncio
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from typing import TypeVar

from cloister.adopted import AdoptedProcess
from cloister.door.messages import (
    Ended,
    Ready,
    Refused,
    Reply,
    Request,
    Statistics,
    decode_reply,
    encode,
)
from cloister.model.errors import DoorError
from cloister.processes import TailReader

PACKET_LIMIT = 1024 * 1024
"""Bytes of one reply: more than ``net.core.wmem_max`` lets the door send as one packet."""

LAST_WORDS = 1.0
"""Seconds that a door that closed its socket has to exit and to be heard out."""

R = TypeVar("R", bound=Reply)


class RefusedError(DoorError):
    """The door understood a request and did not do it."""


class DoorChannel:
    """Owns the supervisor's end of the control socket; gives each request its reply."""

    def __init__(
        self,
        control: socket.socket,
        process: Process | AdoptedProcess,
        messages: TailReader,
        reply_timeout: float,
    ) -> None:
        control.setblocking(False)
        self._control = control
        self._process = process
        self._messages = messages
        self._reply_timeout = reply_timeout
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int | None, asyncio.Future[Reply]] = {}
        """By the request's id; ``None`` for :class:`Ready`, which nobody asks for."""
        self._waiting[None] = self._loop.create_future()
        # Replies to an earlier supervisor may still come.
        self._last_id = time.monotonic_ns()
        self._sending = asyncio.Lock()
        self._sendable = asyncio.Event()
        self.last_statistics: Statistics | None = None
        """Of a door that has drained to its end."""
        self._fault: str | None = None
        """Why the channel is of no more use."""
        self._loop.add_reader(control, self._receive)

    def descriptor(self) -> int:
        """Of the supervisor's end."""
        return self._control.fileno()

    def finish(self) -> None:
        """Takes what a door that has ended still said, and closes the socket."""
        while self._fault is None and self._receive():
            pass
        self.close()

    def close(self) -> None:
        """Closes the socket; whoever waits for a reply gets a :class:`DoorError`. Idempotent."""
        self._fail("the door has been closed")

    async def ready(self, seconds: float) -> Ready:
        """The door's first packet."""
        future = self._waiting[None]
        try:
            async with asyncio.timeout(seconds):
                reply = await future
        except TimeoutError:
            raise await self._error(f"the door is not ready after {seconds:g} s") from None
        except _FaultError as error:
            raise await self._error(str(error)) from None
        finally:
            del self._waiting[None]
        assert isinstance(reply, Ready)  # noqa: S101 - _receive() gives it nothing else
        return reply

    async def request(
        self,
        build: Callable[[int], Request],
        descriptors: Sequence[int] = (),
        *,
        answer: type[R],
    ) -> R:
        """Sends the request that ``build`` makes of a fresh id; returns its reply.

        Raises :class:`RefusedError` when the door refuses, :class:`DoorError` when it does
        not answer in time, has ended, or answers something else. When the caller is
        cancelled the request may or may not have been obeyed.
        """
        if self._fault is not None:
            raise await self._error(self._fault)
        self._last_id += 1
        number = self._last_id
        request = build(number)
        what = type(request).__name__
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(self._reply_timeout):
                await self._send(encode(request), descriptors)
                reply = await future
        except TimeoutError:
            raise await self._error(
                f"the door did not answer {what} within {self._reply_timeout:g} s"
            ) from None
        except _FaultError as error:
            raise await self._error(str(error)) from None
        finally:
            del self._waiting[number]
        if isinstance(reply, Refused):
            raise RefusedError(f"the door refused {what}", why=reply.reason)
        if not isinstance(reply, answer):
            raise await self._error(f"the door answered {what} with {type(reply).__name__}")
        return reply

    async def _send(self, packet: bytes, descriptors: Sequence[int]) -> None:
        """Waits while the socket's buffer is full."""
        async with self._sending:
            while self._fault is None:
                try:
                    socket.send_fds(self._control, [packet], list(descriptors))
                except BlockingIOError:
                    await self._writable()
                except ConnectionError:
                    return  # _receive() sees the same end
                else:
                    return

    async def _writable(self) -> None:
        self._sendable.clear()
        self._loop.add_writer(self._control, self._sendable.set)
        try:
            await self._sendable.wait()
        finally:
            if self._fault is None:
                self._loop.remove_writer(self._control)

    def _next_packet(self) -> bytes:
        try:
            return self._control.recv(PACKET_LIMIT)
        except ConnectionResetError:
            # The door ended without having read a last request. Linux says so once, before
            # what the door has sent: its last counters may be among that.
            return self._control.recv(PACKET_LIMIT)

    def _receive(self) -> bool:
        """Takes one packet; whether there was one."""
        try:
            packet = self._next_packet()
        except BlockingIOError:
            return False
        except ConnectionError:
            packet = b""
        if not packet:
            self._fail("the door has ended")
            return False
        try:
            reply = decode_reply(packet)
        except DoorError as error:
            self._fail(f"{error.what}: {error.why}")
            return False
        if isinstance(reply, Ended):
            self.last_statistics = reply.stats
            return True
        if isinstance(reply, Refused) and reply.id == 0:
            self._fail(f"the door could not read a request: {reply.reason}")
            return False
        future = self._waiting.get(None if isinstance(reply, Ready) else reply.id)
        # Nobody waits for the reply to a request that timed out or was cancelled.
        if future is not None and not future.done():
            future.set_result(reply)
        return True

    def _fail(self, fault: str) -> None:
        if self._fault is not None:
            return
        self._fault = fault
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()
        self._sendable.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_FaultError(fault))
                future.exception()  # whoever was cancelled meanwhile does not fetch it

    async def _error(self, what: str) -> DoorError:
        """The error with the door's status and last words, which may come a moment later."""
        if self._fault is not None:
            try:
                async with asyncio.timeout(LAST_WORDS):
                    await self._process.wait()
                    await self._messages.ended.wait()
            except TimeoutError:
                pass  # then what is known so far has to do
        why = [] if self._process.returncode is None else [_status(self._process.returncode)]
        if words := self._messages.last_lines():
            why.append(f"its last words: {words}")
        return DoorError(what, why="; ".join(why) or None)


class _FaultError(Exception):
    """Ends every wait for a reply."""


def _status(returncode: int) -> str:
    if returncode >= 0:
        return f"it exited with status {returncode}"
    return f"it was ended by signal {-returncode} ({signal.strsignal(-returncode)})"
