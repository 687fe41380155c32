"""The line channel between a client of the service and a runner: bytes pass, whole lines only, nothing is kept.

The runner holds what its host has not acknowledged, so a line that finds no client is thrown away here and comes again
after the next `attach`. The newest client wins. Both directions stop reading when the other side is slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from sandboxes.contract import MAX_LINE_BYTES

HIGH_WATER_BYTES = 1024 * 1024
REPLACED = b"\0replaced"
"""How the last line of a channel ends when a newer one took its place. No JSON text holds a NUL."""


class HostLine(Protocol):
    """Where a runner's bytes go: a client's connection, or the self-test."""

    def send(self, data: bytes) -> None: ...

    def pause(self) -> None:
        """Send the runner no more for now."""

    def resume(self) -> None: ...

    def drop(self, *, replaced: bool = False) -> None:
        """It is no longer the host; `replaced`: because there is a newer one, so that it need not come back."""


class RunnerLine(asyncio.Protocol):
    """The service's end of one runner's socket."""

    def __init__(self, on_ready: Callable[[], None], on_closed: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.client: HostLine | None = None
        self.last_traffic = time.monotonic()
        self._on_ready = on_ready
        self._on_closed = on_closed
        self._ready = False
        self._at_line_start = True
        self._skip_to_line_start = False
        self._gated: list[bytes] | None = []

    def open_gate(self) -> None:
        """Let what clients sent so far through, and all that follows."""
        gated, self._gated = self._gated or [], None
        for data in gated:
            self.send(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        self.transport = transport

    def attach(self, client: HostLine) -> None:
        """Make `client` the host; an older one is let go."""
        if self.client:
            self.client.drop(replaced=True)
        self.client = client
        self._skip_to_line_start = not self._at_line_start
        self.resume()

    def detach(self, client: HostLine) -> None:
        if self.client is client:
            self.client = None
            self.resume()

    def data_received(self, data: bytes) -> None:
        self.last_traffic = time.monotonic()
        if not self._ready and b"\n" in data:
            self._ready = True
            self._on_ready()
        self._at_line_start = data.endswith(b"\n")
        if self._skip_to_line_start:
            _, newline, data = data.partition(b"\n")
            self._skip_to_line_start = not newline
        if self.client and data:
            self.client.send(data)

    def send(self, data: bytes) -> None:
        self.last_traffic = time.monotonic()
        if self._gated is not None:
            self._gated.append(data)
        elif self.transport:
            self.transport.write(data)

    def pause_writing(self) -> None:
        if self.client:
            self.client.pause()

    def resume_writing(self) -> None:
        if self.client:
            self.client.resume()

    def pause(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        """The runner sees the end of its input, kills what is in the sandbox and ends."""
        if self.transport:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.client:
            self.client.drop()
            self.client = None
        self._on_closed()


class ClientLine:
    """A client's connection once it has become a channel."""

    def __init__(self, transport: asyncio.Transport, runner: RunnerLine) -> None:
        self._transport = transport
        self._runner = runner
        self._partial = bytearray()
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)

    def received(self, data: bytes) -> None:
        """Pass whole lines on. A client that breaks off in the middle of one leaves nothing in the runner's stream."""
        end = data.rfind(b"\n") + 1
        if end:
            self._runner.send(bytes(self._partial) + data[:end])
            self._partial.clear()
        self._partial += data[end:]
        if len(self._partial) > MAX_LINE_BYTES:
            self.drop()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def runner_may_write(self, may: bool) -> None:
        """The client's connection is full, or empty again."""
        if may:
            self._runner.resume()
        else:
            self._runner.pause()

    def pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def drop(self, *, replaced: bool = False) -> None:
        if replaced:
            self._transport.write(REPLACED + b"\n")
        self._transport.close()

    def lost(self) -> None:
        self._runner.detach(self)
