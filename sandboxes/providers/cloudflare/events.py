"""The stream of a command's output: server-sent events (bridge 0.12.10, `POST /v1/sandbox/{id}/exec`)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator

import httpx

from sandboxes.errors import ProviderUnavailable
from sandboxes.providers.cloudflare.errors import NAME, malformed

OUTPUT_BYTES = 1 << 28
EVENTS = "text/event-stream"


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """Name and data of each event."""
    name, data = "", list[str]()
    async for line in response.aiter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and name:
            yield name, "\n".join(data)
            name, data = "", []


async def result_of(response: httpx.Response) -> tuple[int, str, str]:
    """Exit code, standard output and error. Raises `ProviderUnavailable`."""
    if not response.headers.get("content-type", "").startswith(EVENTS):
        raise malformed(f"a stream of type {response.headers.get('content-type', '')!r}")
    code: int | None = None
    output: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    async for name, data in events_of(response):
        try:
            if name in output:
                output[name] += base64.b64decode(data)
            elif name == "exit":
                code = int(json.loads(data)["exit_code"])
            elif name == "error":
                said = json.loads(data)
                code_name = str(said.get("code"))
                raise ProviderUnavailable(str(said.get("error"))[:500], provider=NAME, native_type=code_name)
        except (binascii.Error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise malformed(f"the event {name} {data[:80]!r}") from error
        if sum(map(len, output.values())) > OUTPUT_BYTES:
            raise malformed("the output is longer than all measure")
    if code is None:
        raise malformed("the output ends without an exit code")
    return code, output["stdout"].decode("utf-8", "replace"), output["stderr"].decode("utf-8", "replace")
