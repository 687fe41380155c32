"""`RunnerLink`: the synchronous, typed face of a runner, used by the worker.

Frames go out through a queue on the background loop, several in one write; frames from the runner are checked and come
in by callback on that loop. A stream that breaks is opened again; what was missed is sent again by the runner.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from uuid import uuid4

import msgspec

from sandboxes import aio
from sandboxes.contract import INPUT_PREFIX, MAX_LINE_BYTES, Channel, Sandbox
from sandboxes.errors import InvalidSpec, NotFound, ProtocolViolation, SandboxError, StreamLost
from sandboxes.frames import (
    Ack,
    Answer,
    Attach,
    BlobEntry,
    Exec,
    HostFrame,
    Interrupt,
    Payload,
    Restore,
    RunnerFrame,
    Setup,
    Shutdown,
    State,
    Supply,
    TakeSnapshot,
    decode_runner_frame,
    encode_host_frame,
)
from sandboxes.unanswered import Unanswered

INLINE_TEXT_BYTES = 256 * 1024
"""Texts above this travel as files of the workspace."""
WRITE_BYTES = 4 * 1024 * 1024
"""Files above this are uploaded from a file: providers take no more in one message."""
REATTACH_TRIES = 5
REATTACH_PAUSE_S = 0.2
REATTACH_TIMEOUT_S = 10
BATCH_LINES = 256


class RunnerLink:
    """A host's line to the runner of one sandbox. All senders return at once; `attach` and `read_payload` wait.

    `on_frame` and `on_lost` are called on the background loop: they must be quick and must not block. `on_lost` is
    called once, when the runner cannot be reached any more or broke the protocol; nothing follows it.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        on_frame: Callable[[RunnerFrame], None],
        on_lost: Callable[[SandboxError], None],
    ) -> None:
        self._sandbox = sandbox
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._outgoing: deque[HostFrame] = deque()
        self._unanswered = Unanswered()
        self._sending = False
        self._channel: Channel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._state: asyncio.Future[State] | None = None
        self._attach_id = ""
        self._last_seq = 0
        self._closed = False
        self._file_prefix = f"{INPUT_PREFIX}h{uuid4().hex[:8]}-"
        self._file_numbers = count(1)

    # Senders ----------------------------------------------------------------------------------------------------

    def attach(self, after_seq: int, timeout_s: float = 10) -> State:
        """Become the runner's host; frames past `after_seq` follow through `on_frame`.

        Raises `SandboxError`: `NotFound` when the sandbox is gone, `StreamLost` when the runner does not answer.
        """
        return aio.run(self._attach(after_seq, timeout_s), timeout_s=timeout_s + 5)

    def setup(self, setup: Setup) -> None:
        self._send(setup)

    def execute(self, cell_id: str, code: str, timeout_s: float = 0.0, *, show: bool = False) -> None:
        self._send(Exec(id=cell_id, code=Payload(text=code), timeout_s=timeout_s, show=show))

    def snapshot(self, id: str, *, live: bool = True, durable: bool = True, full: bool = False) -> None:
        """Save the state between two cells; the next cell may be sent at once. `full`: contents that were sent before
        are sent again."""
        self._send(TakeSnapshot(id=id, live=live, durable=durable, full=full))

    def restore(self, id: str, manifest: str, *, eager: bool = False) -> None:
        """Bring a REPL that ran no cell to the state of `manifest` (JSON text)."""
        self._send(Restore(id=id, manifest=Payload(text=manifest), eager=eager))

    def supply(self, id: str, pack: str, blobs: Sequence[BlobEntry], missing: Sequence[str] = ()) -> None:
        """Answer the `need` of this id. `pack` is a file of the host: the contents of `blobs`, one after the other; it
        is uploaded and may go once this returns. Raises `SandboxError` when it cannot be uploaded."""
        path = ""
        if blobs:
            path = f"{self._file_prefix}pack.bin"  # the one before it has been read: only one `need` is open at a time
            aio.run(self._sandbox.put_file(path, pack))
        self._send(Supply(id=id, pack=path, blobs=list(blobs), missing=list(missing)))

    def answer(self, call: str, index: int, *, text: str | None = None, error: str | None = None) -> None:
        payload = None if text is None else Payload(text=text)
        self._send(Answer(call=call, index=index, text=payload, error=error))

    def ack(self, seq: int) -> None:
        self._send(Ack(seq=seq))

    def interrupt(self, cell_id: str, reason: str = "stop") -> None:
        self._send(msgspec.convert({"type": "interrupt", "cell": cell_id, "reason": reason}, Interrupt))

    def shutdown(self) -> None:
        """Ask the runner to end; the sandbox ends with it."""
        self._send(Shutdown())

    def read_payload(self, payload: Payload, max_bytes: int) -> str:
        """The text of a payload. Raises `InvalidSpec` when it is larger than `max_bytes`, `NotFound` when missing."""
        if payload.file is None:
            text = payload.text or ""
            if len(text) > max_bytes or len(text.encode()) > max_bytes:
                raise InvalidSpec(f"the payload is larger than {max_bytes} bytes")
            return text
        data = aio.run(self._sandbox.read_file(payload.file, max_bytes=max_bytes))
        return data.decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of the runner; it goes on by itself. Frames already given to a sender are still sent."""
        if not self._closed:
            aio.run(self._close(), timeout_s=10)

    # On the loop: out -------------------------------------------------------------------------------------------

    def _send(self, frame: HostFrame) -> None:
        with self._lock:
            if self._closed:
                return
            self._outgoing.append(frame)
            if self._sending:
                return
            self._sending = True
        aio.background_loop().call_soon_threadsafe(self._start_sending)

    def _start_sending(self) -> None:
        _spawn(self._drain())

    async def _drain(self) -> None:
        """Send what is queued, as many lines in one write as there are."""
        batch: list[HostFrame] = []
        try:
            while True:
                with self._lock:
                    batch = [self._outgoing.popleft() for _ in range(min(len(self._outgoing), BATCH_LINES))]
                    if not batch:
                        self._sending = False
                        return
                lines = [await self._line(frame) for frame in batch]
                if self._channel:
                    for frame, line in zip(batch, lines, strict=True):
                        self._unanswered.sent(frame, line)
                    await self._channel.send_lines(lines)
        except StreamLost:
            # The reader notices too and opens the stream again, which sends these once more: the runner takes a frame
            # that it has seen already for done.
            with self._lock:
                self._outgoing.extendleft(reversed(batch))
                self._sending = False
        except SandboxError as error:
            self._lose(error)

    async def _line(self, frame: HostFrame) -> bytes:
        if isinstance(frame, Exec):
            frame = msgspec.structs.replace(frame, code=await self._outgoing_payload(frame.code))
        elif isinstance(frame, Restore):
            frame = msgspec.structs.replace(frame, manifest=await self._outgoing_payload(frame.manifest))
        elif isinstance(frame, Answer) and frame.text is not None:
            frame = await self._outgoing_answer(frame, frame.text)
        line = encode_host_frame(frame)
        if len(line) >= MAX_LINE_BYTES:
            raise InvalidSpec(f"a {type(frame).__name__} of {len(line)} bytes does not fit in a line")
        return line

    async def _outgoing_answer(self, frame: Answer, text: Payload) -> Answer:
        """An answer for which the sandbox has no room is an error for the code: it may have filled its disk itself."""
        try:
            return msgspec.structs.replace(frame, text=await self._outgoing_payload(text))
        except InvalidSpec as error:
            return msgspec.structs.replace(frame, text=None, error=f"the answer could not be handed over: {error}")

    async def _outgoing_payload(self, payload: Payload) -> Payload:
        text = payload.text or ""
        if len(text) * 4 <= INLINE_TEXT_BYTES:
            return payload
        data = text.encode("utf-8", "replace")
        # Escapes can make a line six times longer than its text.
        if len(data) <= INLINE_TEXT_BYTES and len(msgspec.json.encode(text)) < MAX_LINE_BYTES // 2:
            return payload
        path = f"{self._file_prefix}{next(self._file_numbers)}.txt"
        if len(data) <= WRITE_BYTES:
            await self._sandbox.write_file(path, data)
        else:
            with tempfile.NamedTemporaryFile(prefix="rlmweb-") as file:
                await asyncio.to_thread(_fill, file.name, data)
                await self._sandbox.put_file(path, file.name)
        return Payload(file=path, size_bytes=len(data))

    # On the loop: in --------------------------------------------------------------------------------------------

    async def _attach(self, after_seq: int, timeout_s: float) -> State:
        await self._stop_reading()
        if self._channel is None:
            self._channel = await self._sandbox.open_channel()
        else:
            await self._channel.reattach()
        return await self._greet(after_seq, timeout_s)

    async def _greet(self, after_seq: int, timeout_s: float) -> State:
        assert self._channel is not None
        self._attach_id = uuid4().hex
        self._last_seq = after_seq
        self._state = asyncio.get_running_loop().create_future()
        await self._channel.send_line(encode_host_frame(Attach(id=self._attach_id, after=after_seq)))
        self._reading = _spawn(self._read(self._channel))
        try:
            return await asyncio.wait_for(asyncio.shield(self._state), timeout_s)
        except TimeoutError as error:
            raise StreamLost("the runner does not answer") from error

    async def _read(self, channel: Channel) -> None:
        try:
            async for line in channel.lines():
                self._receive(line)
        except StreamLost as error:
            if self._closed:
                return
            if self._state is not None and not self._state.done():
                self._state.set_exception(error)
            elif error.resumable:
                _spawn(self._resume(error))
            else:
                self._lose(error)
        except SandboxError as error:
            self._lose(error)

    def _receive(self, line: bytes) -> None:
        if len(line) >= MAX_LINE_BYTES:
            raise ProtocolViolation(f"the runner sent a line of {len(line)} bytes")
        try:
            frame = decode_runner_frame(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation(f"the runner sent a line that is not a frame: {error}") from error
        if isinstance(frame, State):
            if frame.id == self._attach_id and self._state and not self._state.done():
                self._last_seq = max(self._last_seq, frame.first_seq - 1)
                self._state.set_result(frame)
            return
        if self._state is None or not self._state.done() or frame.seq <= self._last_seq:
            return  # sent before our `attach` reached the runner, or a second time: it comes, or has come, in order
        if frame.seq != self._last_seq + 1:
            raise ProtocolViolation(f"the runner went from frame {self._last_seq} to {frame.seq}")
        self._last_seq = frame.seq
        self._unanswered.received(frame)
        self._on_frame(frame)

    async def _resume(self, error: SandboxError) -> None:
        """Open a broken stream again. The new `state` is not reported: the frames that follow say what happened."""
        for attempt in range(REATTACH_TRIES):
            if self._closed:
                return
            try:
                assert self._channel is not None
                await self._channel.reattach()
                await self._greet(self._last_seq, REATTACH_TIMEOUT_S)
                await self._channel.send_lines(self._unanswered.lines())
                await self._drain()
                return
            except NotFound as gone:
                self._lose(gone)
                return
            except SandboxError as failure:
                error = failure
                await self._stop_reading()
                await asyncio.sleep(REATTACH_PAUSE_S * 2**attempt)
        self._lose(error)

    def _lose(self, error: SandboxError) -> None:
        if self._state is not None and not self._state.done():
            self._state.set_exception(error)
        if not self._closed:
            self._closed = True
            _spawn(self._let_go())
            self._on_lost(error)

    async def _stop_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading and reading is not asyncio.current_task():
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _close(self) -> None:
        await self._drain()
        self._closed = True
        await self._let_go()

    async def _let_go(self) -> None:
        await self._stop_reading()
        if self._channel:
            await self._channel.close()


def _fill(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


_tasks: set[asyncio.Task[None]] = set()
"""Tasks in the background; asyncio itself only holds weak references."""


def _spawn(coroutine: object) -> asyncio.Task[None]:
    task: asyncio.Task[None] = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
