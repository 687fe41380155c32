"""The line channel between a client of the service and a runner: bytes pass, whole lines only, nothing is kept.

The runner holds what its host has not acknowledged, so a line that finds no client is thrown away here and comes again
after the next `attach`. The newest client wins. Both directions stop reading when the other side is slow.

Beside the host there are side clients, which may only evaluate. Their lines are taken apart and wrapped here, so that
none of them can speak as the host, and an answer goes to the client that asked.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from sandboxes.contract import MAX_LINE_BYTES
from sandboxes.errors import CapacityUnavailable, NotFound

HIGH_WATER_BYTES = 1024 * 1024
MAX_PARKED = 128
REPLACED = b"\0replaced"
"""How the last line of a channel ends when a newer one took its place. No JSON text holds a NUL."""
SIDE = b'{"type":"side"'
"""How the lines begin that are not the host's. Inside a JSON text these bytes cannot occur: quotes are escaped there."""
MAX_SIDE_CLIENTS = 64
ITSELF = 0
"""The number under which the runner speaks to the service."""


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

    def __init__(
        self, on_ready: Callable[[], None], on_closed: Callable[[], None], on_parked: Callable[[int], None]
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.client: HostLine | None = None
        self.last_traffic = time.monotonic()
        self._on_ready = on_ready
        self._on_closed = on_closed
        self._ready = False
        self._ended = False
        self._partial = bytearray()
        self._sides: dict[int, SideLine] = {}
        self._side_numbers = itertools.count(ITSELF + 1)
        self.parked = 0
        """How many parked copies the runner has told of: processes that are not the code's."""
        self._on_parked = on_parked
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
        if self._ended:
            client.drop()  # the sandbox is about to be removed
            return
        if self.client:
            self.client.drop(replaced=True)
        self.client = client
        self.resume()

    def detach(self, client: HostLine) -> None:
        if self.client is client:
            self.client = None
            self.resume()

    def data_received(self, data: bytes) -> None:
        self.last_traffic = time.monotonic()
        end = data.rfind(b"\n") + 1
        lines = bytes(self._partial) + data[:end] if end else b""
        if end:
            self._partial.clear()
        self._partial += data[end:]
        if len(self._partial) > MAX_LINE_BYTES:
            self.close()
        if lines:
            self._received(lines)

    def _received(self, lines: bytes) -> None:
        """Whole lines of the runner."""
        if SIDE in lines:
            lines = b"".join(line for line in lines.splitlines(keepends=True) if not self._to_side(line))
        if not self._ready:
            self._ready = True
            self._on_ready()
        if self.client and lines:
            self.client.send(lines)

    def _to_side(self, line: bytes) -> bool:
        """Pass a line that is not for the host to whom it belongs; False when it is for the host."""
        if not line.startswith(SIDE):
            return False
        try:
            envelope = json.loads(line)
            number, frame = int(envelope["n"]), dict(envelope["frame"])
            if number == ITSELF and frame.get("type") == "parked":
                self.parked = min(max(int(frame["count"]), 0), MAX_PARKED)
                self._on_parked(self.parked)
            elif number in self._sides:
                self._sides[number].send(frame)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # a runner that was taken over: nobody gets this line
        return True

    def attach_side(self, client: SideLine) -> int:
        """The number of a new client beside the host. Raises `CapacityUnavailable`."""
        if self._ended:
            raise NotFound("the runner of this sandbox has ended")
        if len(self._sides) >= MAX_SIDE_CLIENTS:
            raise CapacityUnavailable(f"the sandbox has {MAX_SIDE_CLIENTS} side channels open; close one")
        number = next(self._side_numbers)
        self._sides[number] = client
        return number

    def detach_side(self, number: int) -> None:
        self._sides.pop(number, None)

    def send(self, data: bytes) -> None:
        self.last_traffic = time.monotonic()
        if self._gated is not None:
            self._gated.append(data)
        elif self.transport:
            self.transport.write(data)

    def pause_writing(self) -> None:
        for client in (self.client, *self._sides.values()):
            if client:
                client.pause()

    def resume_writing(self) -> None:
        for client in (self.client, *self._sides.values()):
            if client:
                client.resume()

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
        self._ended = True
        if self.client:
            self.client.drop()
            self.client = None
        for side in list(self._sides.values()):
            side.drop()
        self._on_closed()


class ClientLine:
    """A client's connection once it has become a channel: that of the host."""

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


class SideLine:
    """A client's connection beside the host. It can ask for evaluations, and gets the answers to its own."""

    def __init__(self, transport: asyncio.Transport, runner: RunnerLine) -> None:
        self._transport = transport
        self._runner = runner
        self._partial = bytearray()
        self._number = runner.attach_side(self)

    def received(self, data: bytes) -> None:
        self._partial += data
        while (end := self._partial.find(b"\n")) >= 0:
            line = bytes(self._partial[:end])
            del self._partial[: end + 1]
            if not self._pass_on(line):
                self.drop()
                return
        if len(self._partial) > MAX_LINE_BYTES:
            self.drop()

    def _pass_on(self, line: bytes) -> bool:
        """Wrap a request; False for anything else. It is written anew: nothing of the client's text can close the
        wrapping."""
        try:
            frame: dict[str, Any] = json.loads(line)
            if frame["type"] != "evaluate":
                return False
            wrapped = json.dumps({"type": "side", "n": self._number, "frame": frame}, separators=(",", ":"))
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        if len(wrapped) >= MAX_LINE_BYTES:
            return False
        self._runner.send(wrapped.encode() + b"\n")
        return True

    def send(self, frame: dict[str, Any]) -> None:
        """An answer. One for a client that does not read is thrown away, and its connection with it: the host's lines
        come through the same stream and must not wait."""
        if self._transport.get_write_buffer_size() > HIGH_WATER_BYTES:
            self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(json.dumps(frame).encode() + b"\n")

    def runner_may_write(self, may: bool) -> None:
        """`send` looks at the buffer itself."""

    def pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def drop(self) -> None:
        self._transport.close()

    def lost(self) -> None:
        self._runner.detach_side(self._number)
