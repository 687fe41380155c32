"""envd's process service, on the base that the vendor ships."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from e2b.envd.client_shared import PLAIN_HTTP_ERROR_CODES
from e2b.envd.process import process_pb
from e2b.envd.process.process_connect import Process as ProcessService
from protobuf import Oneof

from tests.wire.engine import Box, Engine
from tests.wire.faults import Faults, Operation
from tests.wire.process import Process

CHUNK_BYTES = 32768
DROPPED = object()


def oneof(field: str, value: Any) -> Any:
    """The generated classes want to know the field while the program is checked."""
    return Oneof(field, value)


class Running:
    """A process with whoever is connected to it. What it writes while nobody is, is lost, as with envd."""

    def __init__(self, process: Process, config: process_pb.ProcessConfig) -> None:
        self.process = process
        self.config = config
        self.listeners: list[asyncio.Queue[Any]] = []
        self.ended = False
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        async def copy(reader: asyncio.StreamReader, kind: str) -> None:
            while data := await reader.read(CHUNK_BYTES):
                event = process_pb.ProcessEvent.DataEvent(output=oneof(kind, data))
                self._tell(process_pb.ProcessEvent(event=oneof("data", event)))

        assert self.process.stderr is not None
        copying = [
            asyncio.ensure_future(copy(self.process.stdout, "stdout")),
            asyncio.ensure_future(copy(self.process.stderr, "stderr")),
        ]
        code = await self.process.wait()
        _, late = await asyncio.wait(copying, timeout=1)  # what it left behind may hold its output open
        for task in late:
            task.cancel()
        self.ended = True
        end = process_pb.ProcessEvent.EndEvent(exit_code=code, exited=True, status=f"exit status {code}")
        self._tell(process_pb.ProcessEvent(event=oneof("end", end)))

    def _tell(self, event: Any) -> None:
        for listener in self.listeners:
            listener.put_nowait(event)

    def drop(self) -> None:
        self._tell(DROPPED)

    def kill_only_it(self) -> None:
        """envd signals the process and not its children. It is the child of what makes the box around it."""
        folder = Path(f"/proc/{self.process.pid}/task/{self.process.pid}")
        with contextlib.suppress(OSError):
            for child in (folder / "children").read_text().split():
                os.kill(int(child), signal.SIGKILL)


class Processes(ProcessService):
    def __init__(self, engine: Engine, faults: Faults) -> None:
        self.engine = engine
        self.faults = faults
        self.running: dict[tuple[str, int], Running] = {}
        self.started: list[tuple[process_pb.StartRequest, dict[str, str]]] = []
        """What was asked for of every process, with the request's headers."""
        self.connected: list[int] = []
        self.killed: list[int] = []
        self.heard = threading.Event()
        """Somebody was sent what a process wrote."""
        self.joined = threading.Event()
        """Somebody connected to a process that runs."""

    def _box(self, ctx: Any) -> Box:
        return self.engine.box(ctx.request_headers["e2b-sandbox-id"])

    async def _disturb(self, operation: Operation) -> bool:
        """True: do it, and lose the answer."""
        fault = self.faults.take(operation)
        if fault is None:
            return False
        if fault.kind == "hang":
            await asyncio.sleep(3600)
        if fault.kind == "status":
            raise ConnectError(PLAIN_HTTP_ERROR_CODES.get(fault.status, Code.UNKNOWN), fault.message)
        if fault.kind != "lose_reply":
            raise ConnectError(Code.UNAVAILABLE, fault.message)
        return True

    def drop_streams(self, box: Box) -> None:
        for (id, _), running in self.running.items():
            if id == box.id:
                running.drop()

    async def start(self, request: process_pb.StartRequest, ctx: Any) -> AsyncIterator[process_pb.StartResponse]:
        lost = await self._disturb("stream" if request.stdin else "exec")
        box, config = self._box(ctx), request.process
        assert config is not None
        cwd = config.cwd or "/home/user"
        if not box.host_path(cwd).is_dir():
            raise ConnectError(Code.INVALID_ARGUMENT, f"cwd '{cwd}' does not exist")
        self.started.append((request, dict(ctx.request_headers.items())))
        process = await box.spawn([config.cmd, *config.args], cwd=cwd, env=config.envs)
        if not request.stdin:
            process.close_stdin()
        running = self.running[box.id, process.pid] = Running(process, config)
        if lost:
            raise ConnectError(Code.UNAVAILABLE, "the answer is lost")
        async for event in self._events(running):
            yield process_pb.StartResponse(event=event)

    async def connect(self, request: process_pb.ConnectRequest, ctx: Any) -> AsyncIterator[process_pb.ConnectResponse]:
        await self._disturb("stream")
        running = self._selected(request.process, ctx)
        self.connected.append(running.process.pid)
        async for event in self._events(running):
            self.joined.set()
            yield process_pb.ConnectResponse(event=event)

    async def _events(self, running: Running) -> AsyncIterator[process_pb.ProcessEvent]:
        listener: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        running.listeners.append(listener)

        def drop() -> None:
            loop.call_soon_threadsafe(listener.put_nowait, DROPPED)

        forget: Callable[[], None] = self.faults.on_drop(drop)
        try:
            start = process_pb.ProcessEvent.StartEvent(pid=running.process.pid)
            yield process_pb.ProcessEvent(event=oneof("start", start))
            while True:
                event = await listener.get()
                if event is DROPPED:
                    raise ConnectError(Code.UNAVAILABLE, "the connection was lost")
                yield event
                if event.event.field == "data":
                    self.heard.set()
                if event.event.field == "end":
                    return
        finally:
            forget()
            running.listeners.remove(listener)

    def _selected(self, selector: process_pb.ProcessSelector | None, ctx: Any) -> Running:
        pid: Any = selector.selector.value if selector is not None and selector.selector is not None else 0
        running = self.running.get((self._box(ctx).id, pid))
        if running is None or running.ended:
            raise ConnectError(Code.NOT_FOUND, f"process with pid {pid} not found")
        return running

    async def send_input(self, request: process_pb.SendInputRequest, ctx: Any) -> process_pb.SendInputResponse:
        lost = await self._disturb("stdin")
        running = self._selected(request.process, ctx)
        given = request.input.input if request.input is not None else None
        assert given is not None
        for _ in range(2 if self.faults.replay_stdin else 1):
            try:
                await running.process.write(given.value)
            except OSError as error:
                raise ConnectError(Code.INTERNAL, f"error writing to stdin: {error}") from error
        if lost:
            raise ConnectError(Code.UNAVAILABLE, "the answer is lost")
        return process_pb.SendInputResponse()

    async def send_signal(self, request: process_pb.SendSignalRequest, ctx: Any) -> process_pb.SendSignalResponse:
        running = self._selected(request.process, ctx)
        self.killed.append(running.process.pid)
        running.kill_only_it()
        return process_pb.SendSignalResponse()

    async def list(self, request: process_pb.ListRequest, ctx: Any) -> process_pb.ListResponse:
        box = self._box(ctx)
        found = [
            process_pb.ProcessInfo(config=running.config, pid=pid)
            for (id, pid), running in self.running.items()
            if id == box.id and not running.ended
        ]
        return process_pb.ListResponse(processes=found)
