"""gRPC on the server's side: handlers of one request and one answer, and the faults that a test asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from grpclib import GRPCError, Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.server import Server

from tests.wire.engine import NoSuchBox
from tests.wire.faults import Fault, Faults, Operation

STATUSES = {
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    409: Status.ALREADY_EXISTS,
    429: Status.RESOURCE_EXHAUSTED,
    500: Status.INTERNAL,
    503: Status.UNAVAILABLE,
}
GARBAGE = b"\xff\xff\xff\xff"
T = TypeVar("T")


class Codec(ProtoCodec):
    """Lets bytes through that are no message, for answers that are none."""

    def encode(self, message: Any, message_type: Any) -> bytes:
        return message if isinstance(message, bytes) else super().encode(message, message_type)


class Connections(Server):
    """Closes its connections with itself, which the library leaves to the other side."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._protocols: list[Any] = []

    def _protocol_factory(self) -> Any:
        self._protocols.append(super()._protocol_factory())
        return self._protocols[-1]

    def close_all(self) -> None:
        self.close()
        for protocol in self._protocols:
            if (connection := getattr(protocol, "connection", None)) is not None:
                connection.close()


def served(kind: type[T]) -> type[T]:
    """Calls that we do not serve answer so, as a server of another version would."""

    def absent(name: str) -> Callable[[Any, Any], Awaitable[None]]:
        async def refuse(self: Any, stream: Any) -> None:
            raise GRPCError(Status.UNIMPLEMENTED, name)

        return refuse

    for name in getattr(kind, "__abstractmethods__", frozenset()):
        setattr(kind, name, absent(name))
    kind.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    return kind


class Calls:
    """What both services share. A fault holds for all tries of one call that the client makes by itself."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._met: dict[str, Fault | None] = {}

    async def answer(
        self, stream: Any, operation: Operation | Callable[[Any], Operation], do: Callable[[Any], Awaitable[Any]]
    ) -> None:
        request = await stream.recv_message()
        fault = self._fault(stream, operation if isinstance(operation, str) else operation(request))
        if fault is not None and fault.kind in ("hang", "status", "reset", "malformed"):
            await disturb(stream, fault)
            return
        try:
            reply = await do(request)
        except NoSuchBox as absent:
            raise GRPCError(Status.NOT_FOUND, f"{absent} not found") from absent
        if fault is not None:
            await stream.cancel()
            return
        await stream.send_message(reply)

    def _fault(self, stream: Any, operation: Operation) -> Fault | None:
        key = stream.metadata.get("x-idempotency-key")
        if key is None:
            return self.faults.take(operation)
        if key not in self._met:
            self._met[key] = self.faults.take(operation)
            return self._met[key]
        again = self._met[key]
        return None if again is not None and again.kind == "lose_reply" else again


async def disturb(stream: Any, fault: Fault) -> None:
    if fault.kind == "hang":
        await asyncio.sleep(3600)
    if fault.kind == "status":
        raise GRPCError(STATUSES.get(fault.status, Status.UNKNOWN), fault.message)
    if fault.kind == "malformed":
        await stream.send_message(GARBAGE)
        return
    await stream.cancel()


def jwt(**claims: Any) -> str:
    """A token as the client reads it: it looks at `exp` and at nothing else."""
    words = [{"alg": "none"}, {"exp": int(time.time()) + 3600, **claims}]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(word).encode()).decode().rstrip("=") for word in words), "s"]
    )
