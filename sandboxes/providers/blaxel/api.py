"""The API inside a sandbox: processes, files, sleep. Source: blaxel-ai/sandbox, `sandbox-api/docs`, and the SDK 0.4.24."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx2

from sandboxes.errors import AlreadyTerminated, NotFound, ProviderUnavailable, SandboxError
from sandboxes.providers.blaxel.client import BlaxelClient, Deadline, mapping
from sandboxes.providers.blaxel.errors import NAME, malformed
from sandboxes.providers.blaxel.output import RECORDS, data_of, records_of

WHOLE_BYTES = 5 << 20
"""Up to here a file goes in one request, above in parts of so many bytes (the SDK's threshold and part)."""
POLL_S = 0.5
QUIET_S = 60.0
FILE_S = 300.0
BACKSTOP_S = 5.0
"""The vendor kills a command so long after we should have."""
RUNNING = "running"


class SandboxApi:
    """`url`: the sandbox's own address. Asking it for anything wakes the sandbox."""

    def __init__(self, client: BlaxelClient, url: str, *, poll_s: float = POLL_S) -> None:
        self._client = client
        self._url = client.trusted(url)
        self._poll_s = poll_s

    def opened(self, method: str, path: str, **options: Any) -> AbstractAsyncContextManager[httpx2.Response]:
        return self._client.opened(method, self._url + path, **options)

    async def once(self, method: str, path: str, **options: Any) -> None:
        await self._client.call_once(method, self._url + path, **options)

    # Processes ------------------------------------------------------------------------------------------------------

    async def start(self, name: str, line: str, *, timeout_s: float, wait: bool, stdin: bool = False) -> dict[str, Any]:
        """Run a line of shell. `timeout_s` 0: without a deadline. It keeps the sandbox awake only while somebody listens."""
        request = _request(name, line, timeout_s=timeout_s, wait=wait)
        if stdin:
            request["stdin"] = True
        answer = await self._client.call("POST", f"{self._url}/process", again=False, json=request)
        return mapping(answer)

    async def run(self, name: str, line: str, *, timeout_s: float) -> tuple[int, str, str]:
        """To its end: exit code, and the last 64 KB of standard output and error.

        The answer is streamed: the gateway cuts one that is silent for a minute. When it breaks all the same, the
        process is found again by its name, for it goes on.
        """
        deadline = Deadline(timeout_s)
        try:
            result = await self._run_streamed(name, line, timeout_s)
        except (httpx2.HTTPError, ProviderUnavailable) as error:
            result = await self._find_result(name, deadline, error)
        try:
            return int(result["exitCode"]), str(result.get("stdout") or ""), str(result.get("stderr") or "")
        except (KeyError, TypeError, ValueError) as error:
            raise malformed(f"a result without an exit code: {str(result)[:80]}") from error

    async def _run_streamed(self, name: str, line: str, timeout_s: float) -> dict[str, Any]:
        request = _request(name, line, timeout_s=timeout_s + BACKSTOP_S, wait=True)
        async with self.opened(
            "POST", "/process", json=request, headers={"Accept": "text/event-stream"}, timeout_s=QUIET_S
        ) as response:
            if not response.headers.get("content-type", "").startswith(RECORDS):
                raise malformed(f"a stream of type {response.headers.get('content-type', '')!r}")
            async for record in records_of(response):
                if record.get("type") == "result":
                    return _result(data_of(record))
                if record.get("type") == "error":
                    raise ProviderUnavailable(str(record.get("data"))[:500], provider=NAME, native_type="error")
        raise malformed("a stream without a result")

    async def _find_result(self, name: str, deadline: Deadline, why: Exception) -> dict[str, Any]:
        while not deadline.over:
            try:
                found = mapping(await self._client.call("GET", f"{self._url}/process/{name}", again=True))
            except NotFound as error:
                raise ProviderUnavailable(f"the command was not started: {why}"[:500], provider=NAME) from error
            if found.get("status") != RUNNING:
                return found
            await asyncio.sleep(self._poll_s)
        raise TimeoutError

    async def kill(self, name: str, *, timeout_s: float = QUIET_S) -> None:
        """One that has ended, or never was, is success."""
        with contextlib.suppress(NotFound, AlreadyTerminated):
            await self._client.call(
                "DELETE", f"{self._url}/process/{name}/kill", again=True, timeout_s=timeout_s, expect_json=False
            )

    # Sleep ----------------------------------------------------------------------------------------------------------

    async def let_sleep(self) -> None:
        """Nothing keeps it awake any more but open connections; it falls asleep some 15 seconds after the last."""
        await self._client.call("POST", f"{self._url}/stop", again=True, json={}, expect_json=False)

    async def wake(self) -> None:
        await self._client.call("GET", f"{self._url}/health", again=True, expect_json=False)

    # Files ----------------------------------------------------------------------------------------------------------

    async def put(self, path: str, source: BinaryIO) -> None:
        """Folders on the way are made."""
        first = await asyncio.to_thread(source.read, WHOLE_BYTES + 1)
        if len(first) <= WHOLE_BYTES:
            await self._client.call(
                "PUT",
                f"{self._url}/filesystem/{quote(path)}",
                again=True,
                files={"file": ("file", first, "application/octet-stream")},
                data={"permissions": "0644", "path": path},
                timeout_s=FILE_S,
            )
            return
        started = mapping(
            await self._client.call(
                "POST",
                f"{self._url}/filesystem-multipart/initiate/{quote(path)}",
                again=False,
                json={"permissions": "0644"},
            )
        )
        upload = f"{self._url}/filesystem-multipart/{quote(str(started.get('uploadId')), safe='')}"
        try:
            parts = [part async for part in self._put_parts(upload, first, source)]
            await self._client.call("POST", f"{upload}/complete", again=False, json={"parts": parts}, timeout_s=FILE_S)
        except SandboxError:
            with contextlib.suppress(SandboxError):
                await self._client.call("DELETE", f"{upload}/abort", again=True, expect_json=False)
            raise

    async def _put_parts(self, upload: str, first: bytes, source: BinaryIO) -> AsyncIterator[dict[str, Any]]:
        """One after the other: one part is in memory."""
        data, number = first, 1
        while data:
            answer = mapping(
                await self._client.call(
                    "PUT",
                    f"{upload}/part",
                    again=True,
                    params={"partNumber": number},
                    files={"file": ("part", data, "application/octet-stream")},
                    timeout_s=FILE_S,
                )
            )
            yield {"partNumber": answer.get("partNumber"), "etag": answer.get("etag")}
            data, number = await asyncio.to_thread(source.read, WHOLE_BYTES), number + 1

    async def get(self, path: str, target: BinaryIO, *, max_bytes: int) -> int:
        """Its size, or one above `max_bytes` for a larger file, -1 for what is no file. Raises `NotFound`."""
        async with self.opened(
            "GET",
            f"/filesystem/{quote(path)}",
            headers={"Accept": "application/octet-stream"},
            timeout_s=FILE_S,
        ) as response:
            if response.headers.get("content-type", "").startswith("application/json"):
                return -1  # the listing of a folder
            if not response.headers.get("content-type", "").startswith("application/octet-stream"):
                raise malformed(f"a file of type {response.headers.get('content-type', '')!r}")
            count = 0
            async for part in response.aiter_raw():
                count += len(part)
                if count > max_bytes:
                    return max_bytes + 1
                await asyncio.to_thread(target.write, part)
            return count

    async def remove(self, path: str) -> None:
        with contextlib.suppress(NotFound):
            await self._client.call("DELETE", f"{self._url}/filesystem/{quote(path)}", again=True, expect_json=False)


def _request(name: str, line: str, *, timeout_s: float, wait: bool) -> dict[str, Any]:
    return {
        "name": name,
        "command": line,
        "timeout": math.ceil(timeout_s),
        "keepAlive": False,
        "waitForCompletion": wait,
    }


def _result(data: bytes) -> dict[str, Any]:
    try:
        return mapping(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise malformed(repr(data[:80])) from error
