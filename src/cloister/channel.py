"""The channel between the supervisor and a process of Cloister's own: that process's end of it."""

import asyncio
import socket


class Channel:
    """Lines to the supervisor, and what comes from there. Lives on one event loop."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: asyncio.Event
    ) -> None:
        """See :func:`open_channel`."""
        self.reader = reader
        self._writer = writer
        self.ended = ended
        """Set when the supervisor is gone."""

    def say(self, line: bytes) -> None:
        """One line, without its break. Does not wait for it to be taken."""
        self._writer.write(line + b"\n")

    def say_ready(self, protections: tuple[str, ...]) -> None:
        """That it serves, and what is in force around it."""
        self.say(f"ready {','.join(protections)}".encode())


class _Reader(asyncio.StreamReader):
    """Tells of the end of its stream at once, whether anybody reads or not."""

    def __init__(self, ended: asyncio.Event) -> None:
        super().__init__()
        self._ended = ended

    def feed_eof(self) -> None:
        """Called at the end of the stream."""
        self._ended.set()
        super().feed_eof()


async def open_channel(descriptor: int) -> Channel:
    """The channel on a descriptor that this process was started with, which becomes its own."""
    ended = asyncio.Event()
    reader = _Reader(ended)
    protocol = asyncio.StreamReaderProtocol(reader)
    loop = asyncio.get_running_loop()
    connected = socket.socket(fileno=descriptor)
    transport, _ = await loop.create_unix_connection(lambda: protocol, sock=connected)
    return Channel(reader, asyncio.StreamWriter(transport, protocol, reader, loop), ended)
