"""What a sandbox's API streams of a process: records (images of autumn 2026 and later) or prefixed text (older ones)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from sandboxes.errors import StreamLost
from sandboxes.providers.blaxel.errors import NAME, malformed

RECORDS = "application/x-ndjson"
LINE_BYTES = 1 << 23
"""Longest line: a record holds a chunk of output, and text one line of base64."""
MARKS = re.compile(rb"stdout:|\[keepalive\]")
GAP = b"[output truncated"
ALIVE = b"[keepalive]"


async def lines_of(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Lines of an answer's body, without their ends; what follows the last end is left out: it was cut off."""
    partial = bytearray()
    async for part in response.aiter_raw():
        start = len(partial)
        partial += part
        end, begin = partial.find(b"\n", start), 0
        while end >= 0:
            yield bytes(partial[begin:end])
            begin = end + 1
            end = partial.find(b"\n", begin)
        del partial[:begin]
        if len(partial) > LINE_BYTES:
            raise malformed(f"a line of it is longer than {LINE_BYTES} bytes")


async def records_of(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in lines_of(response):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise malformed(repr(line[:80])) from error
        if isinstance(record, dict):
            yield record


def data_of(record: dict[str, Any]) -> bytes:
    """Output that is no UTF-8 comes as base64."""
    text = str(record.get("data") or "")
    if record.get("encoding") != "base64":
        return text.encode()
    try:
        return base64.b64decode(text)
    except binascii.Error as error:
        raise malformed(repr(text[:80])) from error


async def stdout_of(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Standard output of a process whose output is base64 and one JSON line. Raises `StreamLost` where some is missing."""
    if response.headers.get("content-type", "").startswith(RECORDS):
        async for record in records_of(response):
            kind = record.get("type")
            if kind == "stdout":
                yield data_of(record)
            elif kind in ("truncated", "error", "restart"):
                raise StreamLost(f"the sandbox's API says {kind!r}", provider=NAME)
        return
    async for chunk in _stdout_of_text(response):
        yield chunk


async def _stdout_of_text(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Every chunk begins with a mark, wherever in a line it begins, and a sign of life may stand in the middle of one.

    Base64 has neither colons nor brackets, so that a mark is one wherever it stands. Standard error goes elsewhere.
    """
    held = b""
    async for line in lines_of(response):
        if GAP in line:
            raise StreamLost("the sandbox's API left output out", provider=NAME)
        text = held + MARKS.sub(b"", line)
        held = b""
        if line.endswith(ALIVE):
            held = text  # what ends here is the sign of life, not the line
        else:
            yield text + b"\n"
