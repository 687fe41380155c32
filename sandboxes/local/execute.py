"""Commands in a sandbox besides the runner: start, collect bounded output, kill with everything they started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandboxes.errors import ExecTimeout, InvalidSpec
from sandboxes.local.box import Box
from sandboxes.local.processes import process_tree
from sandboxes.local.spec import BASE_ENV

READ_BYTES = 65536
MAX_OUTPUT_BYTES = 10 * 1024 * 1024
KILL_ROUNDS = 50
_ROOT = str(Path(__file__).resolve().parents[2])
_START = f"import sys; sys.path.insert(0, {_ROOT!r}); from sandboxes.local.enter import main; main()"


helpers: set[int] = set()
"""Processes of this service that run commands now."""


@dataclass(frozen=True, slots=True)
class Command:
    argv: Sequence[str]
    timeout_s: float
    cwd: str
    """Relative to the workspace; empty means the workspace."""
    env: Mapping[str, str]
    max_output_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool


async def execute(box: Box, command: Command) -> Outcome:
    """Raises `ExecTimeout` when the command was killed at its deadline."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _START, json.dumps(_request(box, command))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={},
        cwd="/",
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    helpers.add(process.pid)
    try:
        await asyncio.to_thread(box.group.attach, [process.pid])
        process.stdin.write(b"g")
        process.stdin.close()
        limit = min(command.max_output_bytes, MAX_OUTPUT_BYTES)
        async with asyncio.timeout(command.timeout_s):
            out, err = await asyncio.gather(_collect(process.stdout, limit), _collect(process.stderr, limit))
            code = await process.wait()
    except TimeoutError as error:
        raise ExecTimeout(f"the command ran past its {command.timeout_s:g} s and was killed") from error
    finally:
        await _kill_tree(process.pid)
        helpers.discard(process.pid)
    return Outcome(code, out[0], err[0], out[1] or err[1])


def _request(box: Box, command: Command) -> dict[str, Any]:
    if not command.argv or ".." in command.cwd.split("/") or command.cwd.startswith("/"):
        raise InvalidSpec("exec needs a command, and a folder relative to the workspace")
    assert box.launched is not None
    entry = box.tier.entry(box.launched)
    home = entry["workspace"]
    return {
        **entry,
        "tier": box.tier.name,
        "argv": list(command.argv),
        "cwd": os.path.join(home, command.cwd),
        "env": {**BASE_ENV, "HOME": home, **box.spec.env, **command.env},
        "memory_mb": box.spec.memory_mb,
        "disk_mb": box.spec.disk_mb,
    }


async def _collect(stream: asyncio.StreamReader, limit: int) -> tuple[bytes, bool]:
    """(the output, at most `limit` bytes of it with the middle cut out; whether it was cut)."""
    head, tail, half = bytearray(), bytearray(), limit // 2
    cut = False
    while data := await stream.read(READ_BYTES):
        room = max(half - len(head), 0)
        head += data[:room]
        tail += data[room:]
        if len(tail) > limit - half:
            cut = True
            del tail[: len(tail) - (limit - half)]
    return bytes(head + tail), cut


async def _kill_tree(pid: int) -> None:
    """Kill what is left of the command: round after round, since it may be starting more."""
    for _ in range(KILL_ROUNDS):
        left = [number for number in process_tree(pid) if number != pid or _is_ours(pid)]
        if not left:
            return
        for number in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        await asyncio.sleep(0.01)


def _is_ours(pid: int) -> bool:
    """Whether `pid` is still a running child of this process, and not another process with its number."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            state, parent = stream.read().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return int(parent) == os.getpid() and state != "Z"
