"""Bytes that depend on their position, so that no lost, moved or foreign byte stays unseen."""

import functools
import hashlib
import random
from collections.abc import Iterator

PERIOD = 1_048_573
"""Bytes after which a stream repeats: a prime, so that no power-of-two shift fits."""

DIGEST = "sha256"
"""The quickest strong hash on processors of today, which compute it in hardware."""


@functools.cache
def _block() -> bytes:
    block = random.Random(PERIOD).randbytes(PERIOD)
    return block + block


class Stream:
    """An endless stream of bytes, another one for each ``key``.

    All keys below :data:`PERIOD` walk through one pseudo-random block from starts that lie
    far apart, so that many streams cost the memory of one.
    """

    def __init__(self, key: int) -> None:
        self._start = key * 7919 % PERIOD

    def chunks(self, length: int, *, start: int = 0) -> Iterator[memoryview]:
        """Bytes ``start`` to ``start + length``, in pieces of at most :data:`PERIOD`."""
        block = memoryview(_block())
        position = start
        while position < start + length:
            offset = (self._start + position) % PERIOD
            piece = min(PERIOD, start + length - position)
            yield block[offset : offset + piece]
            position += piece

    def read(self, length: int, *, start: int = 0) -> bytes:
        """Bytes ``start`` to ``start + length``, in memory."""
        return b"".join(self.chunks(length, start=start))

    def digest(self, length: int) -> str:
        """The hash of the first ``length`` bytes, in hexadecimal."""
        state = hashlib.new(DIGEST)
        for chunk in self.chunks(length):
            state.update(chunk)
        return state.hexdigest()
