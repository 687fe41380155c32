"""A model endpoint on the loopback interface that misbehaves on demand: the first part of the path names how.

    http://127.0.0.1:PORT/<mode>/v1/chat/completions   OpenAI's chat completions
    http://127.0.0.1:PORT/<mode>/v1/messages           Anthropic's messages

`<mode>-then-ok` misbehaves twice and then answers. What was asked is kept in `requests`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

WORDS = ("The ", "answer ", "is ", "42.")
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
PASSING_FAULTS = 2


@dataclass
class Asked:
    """One request as it arrived. Header names are in lower case."""

    mode: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class FaultyServer:
    port: int = 0
    requests: list[Asked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    closed_early: threading.Event = field(default_factory=threading.Event)
    """Set when a client hung up before it had the whole reply."""

    def url(self, mode: str, suffix: str = "/v1") -> str:
        return f"http://127.0.0.1:{self.port}/{mode}{suffix}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        mode = path.split("/")[1]
        self.requests.append(Asked(mode, path, headers, body))
        self.counts[mode] += 1
        if mode.endswith("-then-ok"):
            mode = mode.removesuffix("-then-ok") if self.counts[mode] <= PASSING_FAULTS else "ok"
        api = Anthropic() if path.endswith("/messages") else OpenAi()
        return await self._answer(mode, api, body, reader, writer)

    async def _answer(
        self,
        mode: str,
        api: OpenAi | Anthropic,
        body: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        streams = bool(body.get("stream"))
        if mode in CONNECTION_FAULTS:
            await CONNECTION_FAULTS[mode](self, api, reader, writer)
            return False
        if mode in STATUS_FAULTS:
            status, message, code, extra = STATUS_FAULTS[mode]
            send(writer, status, json.dumps(api.error(message, code)).encode(), **extra)
        elif mode in BODY_FAULTS and not (streams and mode == "no-choices"):
            send(writer, 200, BODY_FAULTS[mode], **({"content-type": "text/html"} if mode == "html" else {}))
        elif streams:
            send(writer, 200, b"".join(api.events(mode)), **{"content-type": "text/event-stream"})
        else:
            send(writer, 200, json.dumps(api.reply(mode)).encode())
        await writer.drain()
        return True


class OpenAi:
    """Bodies of chat completions."""

    def reply(self, mode: str) -> dict[str, Any]:
        text = "\ud800 and \x00" if mode == "hostile-text" else "".join(WORDS)
        usage: dict[str, Any] = dict(USAGE)
        if mode == "priced":
            usage |= {"cost": 0.00125, "prompt_tokens_details": {"cached_tokens": 4}}
        if mode == "odd-usage":
            usage = {
                "prompt_tokens": -5,
                "completion_tokens": "many",
                "total_tokens": 10**12,
                "cost": float("1e300"),
            }
        if mode == "hidden-thought":
            usage["total_tokens"] = 118
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": "m-1",
            "choices": [choice],
            "usage": usage,
        }

    def error(self, message: str, code: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": code, "code": code}}

    def events(self, mode: str) -> Iterator[bytes]:
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
        for place, word in enumerate(WORDS):
            if mode == "cut-stream" and place == 2:
                return
            if mode == "bad-stream" and place == 2:
                yield b"data: {not json\n\n"
            if mode == "stream-error" and place == 2:
                yield _data(self.error("The server is overloaded", "overloaded_error"))
            yield _data({**head, "choices": [{"index": 0, "delta": {"content": word}}]})
        yield _data({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        yield _data({**head, "choices": [], "usage": self.reply(mode)["usage"]})
        yield b"data: [DONE]\n\n"


class Anthropic:
    """Bodies of messages."""

    def reply(self, mode: str) -> dict[str, Any]:
        usage = {
            "input_tokens": 3,
            "output_tokens": 7,
            "cache_read_input_tokens": 6,
            "cache_creation_input_tokens": 2,
        }
        content = [{"type": "text", "text": "".join(WORDS)}]
        reply = {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "m-1",
            "content": content,
            "usage": usage,
        }
        return {**reply, "stop_reason": "end_turn", "stop_sequence": None}

    def error(self, message: str, code: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": code, "message": message}}

    def events(self, mode: str) -> Iterator[bytes]:
        whole = self.reply(mode)
        yield _event("message_start", {"message": {**whole, "content": [], "stop_reason": None}})
        yield _event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
        for place, word in enumerate(WORDS):
            if mode == "cut-stream" and place == 2:
                return
            if mode == "bad-stream" and place == 2:
                yield b"event: content_block_delta\ndata: {not json\n\n"
            if mode == "stream-error" and place == 2:
                yield _event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
            yield _event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": word}})
        yield _event("content_block_stop", {"index": 0})
        yield _event("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})
        yield _event("message_stop", {})


def _data(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def _event(name: str, payload: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **payload})}\n\n".encode()


def send(writer: asyncio.StreamWriter, status: int, body: bytes, **headers: str) -> None:
    named = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    writer.write(f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + body)


STATUS_FAULTS: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "400": (400, "temperature must be a number", "invalid_request_error", {}),
    "401": (401, "Incorrect API key provided: sk-test-0123456789abcdef", "authentication_error", {}),
    "402": (402, "Insufficient credits", "payment", {}),
    "403": (403, "Not for you", "permission_error", {}),
    "404": (404, "The model `gpt-9` does not exist", "model_not_found", {}),
    "no-model": (400, "gpt-9 is not a valid model ID", "", {}),
    "413": (413, "Request exceeds the maximum size", "request_too_large", {}),
    "context": (400, "This model's maximum context length is 8192 tokens", "context_length_exceeded", {}),
    "context-words": (400, "prompt is too long: 250000 tokens > 200000 maximum", "invalid_request_error", {}),
    "429": (429, "Rate limit reached", "rate_limit_exceeded", {"retry-after": "0.01"}),
    "429-later": (429, "Rate limit reached", "rate_limit_exceeded", {"retry-after": "3600"}),
    "quota": (429, "You exceeded your current quota", "insufficient_quota", {}),
    "500": (500, "Internal error", "api_error", {}),
    "503": (503, "Overloaded", "overloaded_error", {"retry-after": "0.01"}),
    "504": (504, "Gateway timeout", "timeout_error", {}),
    "529": (529, "Overloaded", "overloaded_error", {}),
    "redirect": (307, "", "", {"location": "http://127.0.0.1:9/elsewhere"}),
}
BODY_FAULTS: dict[str, bytes] = {
    "malformed": b'{"choices": [{"message": ',
    "html": b"<html><body>502 Bad Gateway</body></html>",
    "null": b"null",
    "no-choices": b'{"id": "c1", "object": "chat.completion", "choices": []}',
    "empty": b"",
    "number": b'{"choices": [{"message": {"content": 5}}], "content": 5, "type": "message"}',
}


async def _hang(server: FaultyServer, api: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    server.closed_early.set()


async def _hang_in_stream(
    server: FaultyServer, api: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + b"".join(list(api.events("ok"))[:3]))
    await writer.drain()
    await reader.read()
    server.closed_early.set()


async def _reset(server: FaultyServer, api: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _cut_body(server: FaultyServer, api: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"choices": [')
    await writer.drain()


async def _gzip(server: FaultyServer, api: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    send(writer, 200, b"\x1f\x8b", content_encoding="gzip")
    await writer.drain()


async def _endless(server: FaultyServer, api: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b" " * 2**20)
            await writer.drain()
    server.closed_early.set()


CONNECTION_FAULTS: dict[str, Callable[..., Awaitable[None]]] = {
    "hang": _hang,
    "hang-in-stream": _hang_in_stream,
    "reset": _reset,
    "cut-body": _cut_body,
    "gzip": _gzip,
    "endless": _endless,
}


@contextlib.contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """Runs the server on a loop and thread of its own until the block ends."""
    server = FaultyServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(server.serve, "127.0.0.1", 0)

    listener = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:

        async def stop() -> None:
            listener.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
