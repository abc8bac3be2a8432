"""A service manager's ear: a socket that takes what sd_notify(3) sends."""

import array
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import Deadline

STEP = 10.0
"""Seconds until a message must come."""


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram."""

    fields: dict[str, str]
    descriptors: tuple[int, ...]
    """The receiver's to close."""


class ServiceManager:
    """Bound to ``address``, a path or ``@`` and an abstract name. Keeps all messages."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[Message] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        if not address.startswith("@"):
            Path(address).chmod(0o666)

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address}

    def next(self, *, seconds: float = STEP) -> Message:
        """The next message."""
        self._socket.settimeout(seconds)
        # struct cmsghdr and up to 16 descriptors.
        data, ancillary, _flags, _address = self._socket.recvmsg(4096, socket.CMSG_SPACE(16 * 4))
        descriptors = array.array("i")
        for _level, _kind, content in ancillary:
            descriptors.frombytes(content[: len(content) // 4 * 4])
        fields = dict(line.split("=", 1) for line in data.decode().split("\n") if line)
        self.messages.append(Message(fields, tuple(descriptors)))
        return self.messages[-1]

    def wait_for(
        self, accept: Callable[[dict[str, str]], bool], *, seconds: float = STEP
    ) -> dict[str, str]:
        """The fields of the first message from now on that ``accept`` takes."""
        deadline = Deadline(seconds)
        while not deadline.expired:
            message = self.next(seconds=deadline.remaining)
            if accept(message.fields):
                return message.fields
        raise AssertionError(f"no such message among {self.messages[-10:]}")

    def expect_silence(self, seconds: float) -> None:
        """Nobody says anything for a while."""
        try:
            message = self.next(seconds=seconds)
        except TimeoutError:
            return
        raise AssertionError(f"{message}")

    def close(self) -> None:
        """Also what was stored."""
        self._socket.close()
        for message in self.messages:
            for descriptor in message.descriptors:
                os.close(descriptor)
        if not self.address.startswith("@"):
            Path(self.address).unlink(missing_ok=True)
