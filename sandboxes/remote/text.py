"""`TextMachine`: a machine whose vendor runs commands as text: no bytes, one deadline of its own, no file transfer."""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from sandboxes.contract import ExecResult
from sandboxes.errors import ExecTimeout, InvalidSpec, NotFound, ProviderUnavailable
from sandboxes.remote.bundle import line_source
from sandboxes.remote.hub import FOLDER
from sandboxes.remote.machine import BareMachine

LINE = f"{FOLDER}/line.py"
WRITE_BYTES = 72 * 1024
"""As base64 it has to fit in one word of a command line, for which Linux takes 128 KiB."""
READ_BYTES = 1024 * 1024
FILE_TIMEOUT_S = 60.0
GRACE_S = 15.0


class TextMachine(BareMachine):
    """An adapter supplies `command`; everything else goes through `line.py` in the sandbox."""

    workspace = "/workspace"
    python: Sequence[str] = ("python3",)
    framed = True

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        """Run to the end: exit code, standard output and error. Raises `SandboxError`s only."""
        raise NotImplementedError

    async def prepare(self) -> None:
        """Put `line.py` there; needs a shell with base64."""
        path = f"{self.workspace}/{LINE}"
        part = shlex.quote(f"{path}.part")
        text = base64.b64encode(line_source().encode()).decode()
        target, folder = shlex.quote(path), shlex.quote(str(Path(path).parent))
        line = f"mkdir -p {folder} && printf %s {text} | base64 -d > {part} && mv {part} {target}"
        code, _, error = await self.command(["sh", "-c", line], FILE_TIMEOUT_S)
        if code != 0:
            message = f"the sandbox cannot be prepared (it needs sh, base64 and {self.python[0]}): {error[-500:]}"
            raise InvalidSpec(message, provider=self.provider)

    async def _line(self, words: Sequence[str], timeout_s: float = FILE_TIMEOUT_S) -> str:
        # Without `site` and the user's own: it needs the standard library only, and every command waits for its start.
        command = [*self.python, "-I", "-S", f"{self.workspace}/{LINE}", *words]
        code, output, error = await self.command(command, timeout_s)
        if code != 0:
            raise ProviderUnavailable(f"{words[0]} failed in the sandbox: {error[-500:]}", provider=self.provider)
        return output

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, cwd: str, env: Mapping[str, str], max_output_bytes: int
    ) -> ExecResult:
        request = {
            "argv": list(argv),
            "timeout_s": timeout_s,
            "cwd": cwd,
            "env": dict(env),
            "max_output_bytes": max_output_bytes,
        }
        text = await self._line(["exec", _word(json.dumps(request).encode())], timeout_s + GRACE_S)
        try:
            reply = json.loads(text)
            done = ExecResult(
                int(reply["exit_code"]),
                base64.b64decode(reply["stdout"]),
                base64.b64decode(reply["stderr"]),
                bool(reply["truncated"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderUnavailable(
                f"the command's result is none: {text[-200:]!r}", provider=self.provider
            ) from error
        if reply.get("timed_out"):
            raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=self.provider)
        return done

    async def write(self, path: str, data: bytes) -> None:
        pieces = [data[start : start + WRITE_BYTES] for start in range(0, len(data), WRITE_BYTES)] or [b""]
        for number, piece in enumerate(pieces):
            await self._append(path, piece, first=number == 0, last=number == len(pieces) - 1)

    async def upload(self, path: str, source: str) -> None:
        with await asyncio.to_thread(open, source, "rb") as file:
            piece, first = await asyncio.to_thread(file.read, WRITE_BYTES), True
            while True:
                following = await asyncio.to_thread(file.read, WRITE_BYTES)
                await self._append(path, piece, first=first, last=not following)
                if not following:
                    return
                piece, first = following, False

    async def _append(self, path: str, piece: bytes, *, first: bool, last: bool) -> None:
        where = {(True, True): "only", (True, False): "first", (False, True): "last"}.get((first, last), "next")
        await self._line(["append", path, _word(piece), where])

    async def read(self, path: str, *, max_bytes: int) -> bytes:
        data = bytearray()
        while True:
            size_bytes, piece = await self._piece(path, len(data), max_bytes)
            data += piece
            if len(data) >= size_bytes or not piece:
                return bytes(data[:max_bytes])

    async def download(self, path: str, target: str, *, max_bytes: int) -> int:
        with await asyncio.to_thread(open, target, "wb") as file:
            return await self._copy(path, file, max_bytes)

    async def _copy(self, path: str, file: BinaryIO, max_bytes: int) -> int:
        count = 0
        while True:
            size_bytes, piece = await self._piece(path, count, max_bytes)
            count += await asyncio.to_thread(file.write, piece)
            if count >= size_bytes or not piece:
                return count

    async def _piece(self, path: str, offset: int, max_bytes: int) -> tuple[int, bytes]:
        output = await self._line(["read", path, str(offset), str(READ_BYTES)])
        size, _, text = output.partition("\n")
        try:
            size_bytes, data = int(size), base64.b64decode(text)
        except ValueError as error:
            raise ProviderUnavailable(f"reading {path} gave {output[:80]!r}", provider=self.provider) from error
        if size_bytes < 0:
            raise NotFound(f"there is no file {path}", provider=self.provider)
        if size_bytes > max_bytes:
            raise InvalidSpec(f"{path} has {size_bytes} bytes, more than {max_bytes}", provider=self.provider)
        return size_bytes, data


def _word(data: bytes) -> str:
    """Never an empty word: shells lose those."""
    return base64.b64encode(data).decode() or "===="
