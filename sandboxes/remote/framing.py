"""Bytes over a vendor's stream that carries text only, cuts it anywhere, or may repeat what it was given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator

from sandboxes.errors import ProtocolViolation
from sandboxes.remote.machine import ByteStream

PIECE_BYTES = 48 * 1024


class FramedStream:
    """The host's end of `attach --framed`: numbered lines of base64 to the sandbox, lines of base64 from it."""

    def __init__(self, stream: ByteStream, chunks: AsyncIterator[bytes], read: bytes) -> None:
        """`read`: bytes of `chunks` that were read already."""
        self._stream = stream
        self._chunks = chunks
        self._read = bytearray(read)
        self._sent = 0

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            self._sent += 1
            piece = base64.b64encode(data[start : start + PIECE_BYTES])
            await self._stream.send(b"%d %s\n" % (self._sent, piece))

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            start = 0
            while (end := self._read.find(b"\n", start)) >= 0:
                line = bytes(self._read[start:end])
                start = end + 1
                if not line:
                    continue  # padding
                try:
                    yield binascii.a2b_base64(line)
                except binascii.Error as error:
                    raise ProtocolViolation(f"the line carries something else: {line[:80]!r}") from error
            del self._read[:start]
            try:
                self._read += await anext(self._chunks)
            except StopAsyncIteration:
                return

    async def close(self) -> None:
        await self._stream.close()
