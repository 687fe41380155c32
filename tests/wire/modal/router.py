"""The command router: processes in a sandbox with their input and output by offset, and its snapshots."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import task_command_router_pb2 as pb
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.modal.calls import Calls, jwt, served
from tests.wire.process import Process

CHUNK_BYTES = 65_536
STDOUT = pb.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT


@dataclass
class Output:
    """Everything that a process wrote: it can be read again from any offset."""

    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            async with self.changed:
                self.data += chunk
                self.changed.notify_all()
        async with self.changed:
            self.ended = True
            self.changed.notify_all()

    async def after(self, offset: int) -> bytes:
        """Empty: nothing comes any more."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.data) > offset or self.ended)
            return bytes(self.data[offset : offset + CHUNK_BYTES])


@dataclass
class Running:
    request: Any
    process: Process
    stdout: Output = field(default_factory=Output)
    stderr: Output = field(default_factory=Output)
    written: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def read(self, reader: asyncio.StreamReader, output: Output) -> None:
        self.tasks.append(asyncio.ensure_future(output.follow(reader)))


@served
class Router(Calls, TaskCommandRouterBase):
    def __init__(self, engine: Engine, faults: Faults) -> None:
        super().__init__(faults)
        self.engine = engine
        self.tasks: dict[str, str] = {}
        """Sandboxes by their task."""
        self.tokens: dict[str, set[str]] = {}
        """Those that are valid, by task."""
        self.running: dict[str, Running] = {}
        self._numbers = itertools.count()
        self.secrets: dict[str, dict[str, str]] = {}
        self.snapshots: list[Any] = []
        """Requests, in order."""

    def access(self, task_id: str) -> str:
        """A token for the router, new each time."""
        token = jwt(task=task_id, nth=next(self._numbers))
        self.tokens.setdefault(task_id, set()).add(token)
        return token

    def _box(self, stream: Any, task_id: str) -> Box:
        if str(stream.metadata.get("authorization")).removeprefix("Bearer ") not in self.tokens.get(task_id, ()):
            raise GRPCError(Status.UNAUTHENTICATED, "the token is not for this task")
        try:
            return self.engine.box(self.tasks[task_id])
        except (NoSuchBox, KeyError) as absent:
            raise GRPCError(Status.NOT_FOUND, f"task {task_id} is not running") from absent

    def _one(self, stream: Any, request: Any) -> Running:
        self._box(stream, request.task_id)
        running = self.running.get(request.exec_id)
        if running is None:
            raise GRPCError(Status.NOT_FOUND, f"exec {request.exec_id} not found")
        return running

    # Processes ------------------------------------------------------------------------------------------------------

    async def TaskExecStart(self, stream: Any) -> None:
        async def start(request: Any) -> Any:
            box = self._box(stream, request.task_id)
            if request.exec_id not in self.running:
                self.running[request.exec_id] = await self._spawn(box, request)
            return pb.TaskExecStartResponse()

        await self.answer(stream, operation_of, start)

    async def _spawn(self, box: Box, request: Any) -> Running:
        env: dict[str, str] = {}
        for source in request.secret_sources:
            env |= dict(source.env.contents) if source.WhichOneof("source") == "env" else self.secrets[source.secret_id]
        process = await box.spawn(list(request.command_args), cwd=request.workdir or "/", env=env)
        running = Running(request, process)
        assert process.stderr is not None
        running.read(process.stdout, running.stdout)
        running.read(process.stderr, running.stderr)
        return running

    async def TaskExecStdioRead(self, stream: Any) -> None:
        request = await stream.recv_message()
        running = self._one(stream, request)
        output = running.stdout if request.file_descriptor == STDOUT else running.stderr
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        dropped = False

        def drop() -> None:
            nonlocal dropped
            dropped = True
            assert task is not None
            loop.call_soon_threadsafe(task.cancel)

        forget, offset = self.faults.on_drop(drop), int(request.offset)
        try:
            while chunk := await output.after(offset):
                await stream.send_message(pb.TaskExecStdioReadResponse(data=chunk))
                offset += len(chunk)
        except asyncio.CancelledError:
            if not dropped:
                raise
            await stream.cancel()
        finally:
            forget()

    async def TaskExecStdinWrite(self, stream: Any) -> None:
        async def write(request: Any) -> Any:
            running = self._one(stream, request)
            for _ in range(2 if self.faults.replay_stdin else 1):
                await self._write(running, request)
            if request.eof:
                running.process.close_stdin()
            return pb.TaskExecStdinWriteResponse()

        await self.answer(stream, "stdin", write)

    async def _write(self, running: Running, request: Any) -> None:
        if request.offset > running.written:
            raise GRPCError(Status.OUT_OF_RANGE, f"stdin has {running.written} bytes, not {request.offset}")
        fresh = request.data[running.written - request.offset :]
        if not fresh:
            return
        try:
            await running.process.write(fresh)
        except OSError as error:
            raise GRPCError(Status.FAILED_PRECONDITION, "the process does not read") from error
        running.written += len(fresh)

    async def TaskExecPoll(self, stream: Any) -> None:
        async def poll(request: Any) -> Any:
            process = self._one(stream, request).process
            return status_of(process, pb.TaskExecPollResponse) if process.returncode is not None else None

        await self.answer(stream, "exec", poll)

    async def TaskExecWait(self, stream: Any) -> None:
        async def wait(request: Any) -> Any:
            process = self._one(stream, request).process
            await process.wait()
            self._box(stream, request.task_id)
            return status_of(process, pb.TaskExecWaitResponse)

        request = await stream.recv_message()
        try:
            reply = await wait(request)
        except NoSuchBox as absent:
            raise GRPCError(Status.NOT_FOUND, f"{absent} not found") from absent
        await stream.send_message(reply)

    # Snapshots ------------------------------------------------------------------------------------------------------

    async def TaskSnapshotFilesystem(self, stream: Any) -> None:
        async def take(request: Any) -> Any:
            box = self._box(stream, request.task_id)
            image = f"im-{request.snapshot_id}"
            if image not in self.engine.snapshots:
                await self.faults.before_snapshot()
                lifetime_s = request.ttl_seconds if request.ttl_seconds > 0 else None
                self.engine.take_snapshot(box.id, lifetime_s=lifetime_s, snapshot_id=image)
                self.snapshots.append(request)
            return pb.TaskSnapshotFilesystemResponse(image_id=image)

        await self.answer(stream, "snapshot", take)

    async def TaskSnapshotMemory(self, stream: Any) -> None:
        async def take(request: Any) -> Any:
            box = self._box(stream, request.task_id)
            definition: Any = box.settings["definition"]
            if not definition.enable_snapshot:
                raise GRPCError(Status.FAILED_PRECONDITION, "the sandbox was created without memory snapshots")
            await self.faults.before_snapshot()
            taken = self.engine.take_snapshot(
                box.id, lifetime_s=7 * 86_400, snapshot_id=f"sn-{request.idempotency_key}"
            )
            return pb.TaskSnapshotMemoryResponse(snapshot_id=taken.id)

        await self.answer(stream, "snapshot", take)

    async def close(self) -> None:
        for running in self.running.values():
            for task in running.tasks:
                task.cancel()
            with contextlib.suppress(ProcessLookupError):
                await running.process.close()


def operation_of(request: Any) -> Operation:
    """What a command is for, by its words; the runner's line is what tests call a stream."""
    words = list(request.command_args)
    if "attach" in words:
        return "stream"
    line = words[2] if words[:2] == ["/bin/sh", "-c"] else ""
    return "write" if "cat >" in line else "read" if "head -c" in line else "exec"


def status_of(process: Process, kind: Any) -> Any:
    code = process.returncode
    assert code is not None
    return kind(signal=-code) if code < 0 else kind(code=code)
