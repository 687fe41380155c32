"""Commands of a devbox, run to their end."""

from __future__ import annotations

import math
import time
from uuid import uuid4

import httpx
from runloop_api_client import APIConnectionError, APIStatusError
from runloop_api_client.types import DevboxAsyncExecutionDetailView

from sandboxes.errors import ExecTimeout
from sandboxes.providers.runloop.client import CONNECT_TIMEOUT_S, Client
from sandboxes.providers.runloop.description import NAME
from sandboxes.providers.runloop.errors import translated
from sandboxes.providers.runloop.stream import follow, kill

HOLD_S = 25
"""Longest time that the server keeps a call waiting for a command's end."""
MARGIN_S = 15.0
MAX_LOST_CALLS = 3


async def run_command(client: Client, devbox_id: str, line: str, timeout_s: float) -> tuple[int, str, str]:
    """Exit code, standard output and error. Raises `SandboxError`s only; `ExecTimeout` after killing it."""
    deadline = time.monotonic() + timeout_s
    with translated():
        hold_s = max(1, min(HOLD_S, math.ceil(timeout_s)))
        # The client's own identifier of the command and our key are the same in each of its retries: it runs once.
        found = await client.api.devboxes.execute(
            devbox_id,
            command=line,
            optimistic_timeout=hold_s,
            timeout=httpx.Timeout(hold_s + MARGIN_S, connect=CONNECT_TIMEOUT_S),
            idempotency_key=uuid4().hex,
        )
        if found.status != "completed":
            try:
                found = await _completed(client, found, deadline)
            except BaseException:
                await kill(client, devbox_id, found.execution_id)
                raise
        stdout = found.stdout or ""
        if found.stdout_truncated:  # what the answer leaves out, the log has
            pieces = [piece async for piece in follow(client, devbox_id, found.execution_id)]
            stdout = b"".join(pieces).decode("utf-8", "replace")
        return int(found.exit_status or 0), stdout, found.stderr or ""


async def _completed(
    client: Client, found: DevboxAsyncExecutionDetailView, deadline: float
) -> DevboxAsyncExecutionDetailView:
    lost = 0
    while found.status != "completed":
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise ExecTimeout("the command did not end in time", provider=NAME)
        hold_s = max(1, min(HOLD_S, math.ceil(left_s)))
        try:
            found = await client.once.devboxes.wait_for_command(
                found.execution_id,
                devbox_id=found.devbox_id,
                statuses=["completed"],
                timeout_seconds=hold_s,
                timeout=httpx.Timeout(hold_s + MARGIN_S, connect=CONNECT_TIMEOUT_S),
            )
        except APIStatusError as error:
            if error.status_code != 408:  # its way to say that the command is not done
                raise
        except APIConnectionError:
            lost += 1
            if lost > MAX_LOST_CALLS:
                raise
    return found
