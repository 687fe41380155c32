"""Processes over envd's process service, with their bytes: the client's `commands` make text of them.

Nobody keeps what a process writes while nobody is connected to it (envd's `multiplex.go`), so that a stream that broke
cannot be followed again by its pid without a gap. The line to the runner is therefore opened anew, with a process of its
own, and what the old one still held comes again through the runner's protocol; the old one is ended by its pid. A
command, which cannot be started twice, is found again by its pid (see `Command.run`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from e2b import AsyncSandbox
from e2b.connection_config import KEEPALIVE_PING_HEADER, KEEPALIVE_PING_INTERVAL_SEC
from e2b.envd.client_async import create_rpc_client
from e2b.envd.process import process_connect, process_pb
from e2b.envd.utils import authentication_header, timeout_to_ms
from protobuf import Oneof

from sandboxes.contract import ExecResult
from sandboxes.errors import AlreadyTerminated, AuthFailed, ProviderUnavailable, SandboxError, StreamLost
from sandboxes.providers.e2b.description import NAME
from sandboxes.providers.e2b.errors import FAILURES, translate, translated

OPEN_TIMEOUT_S = 30.0
SEND_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 10.0
QUIET_S = 3.0 * KEEPALIVE_PING_INTERVAL_SEC
"""envd gives a sign of life every 50 s, as it is asked to; without any for so long a stream is taken for broken."""
SIGNALS = {"hangup": 1, "interrupt": 2, "aborted": 6, "killed": 9, "segmentation fault": 11, "terminated": 15}
"""How Go names them, in which envd is written."""


class Processes:
    """The process service of one sandbox."""

    def __init__(self, sandbox: AsyncSandbox) -> None:
        config = sandbox.connection_config
        self._rpc: Any = create_rpc_client(process_connect.ProcessClient, sandbox.envd_api_url, config)
        self._headers = {
            **authentication_header(sandbox._envd_version),
            KEEPALIVE_PING_HEADER: str(KEEPALIVE_PING_INTERVAL_SEC),
        }

    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], stdin: bool, timeout_s: float = 0
    ) -> tuple[int, Any]:
        """The pid and the rest of the events. `timeout_s`: the vendor's deadline, 0 for none; the client has 60 s."""
        config = process_pb.ProcessConfig(cmd=argv[0], args=list(argv[1:]), envs=dict(env))
        request = process_pb.StartRequest(process=config, stdin=stdin)
        events = self._rpc.start(request, headers=self._headers, timeout_ms=timeout_to_ms(timeout_s))
        return await self._opened(events)

    async def connect(self, pid: int) -> Any:
        """What comes from now on of a process that runs. Raises `NotFound`."""
        request = process_pb.ConnectRequest(process=_selector(pid))
        _, events = await self._opened(self._rpc.connect(request, headers=self._headers))
        return events

    async def _opened(self, events: Any) -> tuple[int, Any]:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                first = await next_event(events)
        except TimeoutError as error:
            await close_events(events)
            raise ProviderUnavailable("the process did not start in time", provider=NAME) from error
        match first:
            case Oneof(field="start", value=start):
                return start.pid, events
        await close_events(events)
        raise ProviderUnavailable("the process's events begin without a start", provider=NAME)

    async def send(self, pid: int, data: bytes) -> None:
        stdin: Any = Oneof("stdin", data)
        given = process_pb.ProcessInput(input=stdin)
        request = process_pb.SendInputRequest(process=_selector(pid), input=given)
        with cancellable():
            await self._rpc.send_input(request, timeout_ms=timeout_to_ms(SEND_TIMEOUT_S))

    async def kill(self, pid: int) -> None:
        """One that has ended is success."""
        request = process_pb.SendSignalRequest(process=_selector(pid), signal=process_pb.Signal.SIGKILL)
        try:
            with cancellable():
                await self._rpc.send_signal(request, timeout_ms=timeout_to_ms(CLOSE_TIMEOUT_S))
        except ConnectError as error:
            if error.code is not Code.NOT_FOUND:
                raise


def _selector(pid: int) -> Any:
    by_pid: Any = Oneof("pid", pid)
    return process_pb.ProcessSelector(selector=by_pid)


@contextlib.contextmanager
def cancellable() -> Iterator[None]:
    """The client's library makes an error of its own of a cancellation, which would then not end what is cancelled."""
    try:
        yield
    except ConnectError as error:
        if isinstance(error.__cause__, asyncio.CancelledError):
            raise asyncio.CancelledError from error
        raise


async def close_events(events: Any) -> None:
    with contextlib.suppress(*FAILURES, RuntimeError):
        await events.aclose()


async def next_event(events: Any) -> Any:
    """The payload of the next event; None at the end. Raises what the client raises, and `StreamLost` after silence."""
    try:
        async with asyncio.timeout(QUIET_S):
            with cancellable():
                event = await anext(events)
    except StopAsyncIteration:
        return None
    except TimeoutError as error:
        raise StreamLost(f"there was no sign of life for {QUIET_S:g} s", provider=NAME) from error
    return event.event.event if event.event is not None else Oneof("keepalive", None)


class ProcessStream:
    """Standard input and output of one process; see the head of this file for why it is not found again by its pid."""

    def __init__(self, processes: Processes, pid: int, events: Any) -> None:
        self._processes = processes
        self.pid = pid
        self._events = events
        self._sending = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        async with self._sending:  # two requests at once may overtake each other
            try:
                await self._processes.send(self.pid, data)
            except FAILURES as error:
                raise StreamLost(f"the process takes no input: {translate(error)}", provider=NAME) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            try:
                event = await next_event(self._events)
            except FAILURES as error:
                raise StreamLost(f"the stream broke: {translate(error)}", provider=NAME) from error
            match event:
                case None:
                    raise StreamLost("the stream ended before its process", provider=NAME)
                case Oneof(field="data", value=data) if data.output is not None and data.output.field == "stdout":
                    yield data.output.value
                case Oneof(field="end"):
                    return

    async def close(self) -> None:
        await close_events(self._events)
        with contextlib.suppress(*FAILURES, SandboxError):
            await self._processes.kill(self.pid)


@dataclass
class Command:
    """A command that runs to its end. `rejoined`: its stream broke, and what it wrote meanwhile is lost."""

    processes: Processes
    max_output_bytes: int
    pid: int = 0
    rejoined: bool = False
    _kept: dict[str, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    _cut: bool = False

    async def run(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float) -> ExecResult:
        """A snapshot breaks streams and leaves processes alone: the command is found again by its pid."""
        with translated():
            self.pid, events = await self.processes.start(argv, env=env, stdin=False, timeout_s=timeout_s)
        while True:
            try:
                with translated():
                    code = await self._follow(events)
            except (AuthFailed, AlreadyTerminated):
                raise
            except SandboxError as error:
                broken = error
            else:
                cut = self._cut or self.rejoined
                return ExecResult(code, bytes(self._kept["stdout"]), bytes(self._kept["stderr"]), cut)
            finally:
                await close_events(events)
            events = await self._rejoin(broken)

    async def _rejoin(self, broken: SandboxError) -> Any:
        self.rejoined = True
        try:
            with translated():
                return await self.processes.connect(self.pid)
        except SandboxError as error:
            raise StreamLost(
                f"the command's stream broke and it is not there any more: {broken}", resumable=False, provider=NAME
            ) from error

    async def _follow(self, events: Any) -> int:
        while True:
            match await next_event(events):
                case None:
                    raise StreamLost("the stream ended before its command", provider=NAME)
                case Oneof(field="data", value=data) if data.output is not None and data.output.field in self._kept:
                    kept = self._kept[data.output.field]
                    room = self.max_output_bytes - len(kept)
                    self._cut = self._cut or len(data.output.value) > room
                    kept += data.output.value[:room]
                case Oneof(field="end", value=end):
                    return exit_code(end.exit_code, end.status)


def exit_code(code: int, status: str) -> int:
    """As a shell tells it. envd has -1 for a process that a signal ended, and names it: `signal: killed`."""
    if code >= 0:
        return code
    name = status.removeprefix("signal: ").removesuffix(" (core dumped)")
    return 128 + SIGNALS.get(name, 0)
