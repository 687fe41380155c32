"""A plain conversation with the runner of one sandbox: send, and take its frames one after the other."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from sandboxes.contract import Sandbox
from sandboxes.errors import ProtocolViolation, SandboxError
from sandboxes.frames import RunnerError, RunnerFrame, State
from sandboxes.link import RunnerLink

ATTACH_TIMEOUT_S = 30.0
FrameT = TypeVar("FrameT")


class BoxTalk:
    """For one thread. `serve` gets each frame first; a frame that it took care of is not given to who waits."""

    def __init__(self, sandbox: Sandbox, serve: Callable[[RunnerFrame], bool]) -> None:
        self._frames: SimpleQueue[RunnerFrame | SandboxError] = SimpleQueue()
        self._serve = serve
        self._unacked = 0
        self.link = RunnerLink(sandbox, self._frames.put, self._frames.put)

    def attach(self) -> State:
        return self.link.attach(0, timeout_s=ATTACH_TIMEOUT_S)

    def next(self, timeout_s: float) -> RunnerFrame:
        """The next frame. The one before is acknowledged by asking for it, so files that it names can be read until then.

        Raises `TimeoutError`, and the `SandboxError` with which the sandbox was lost.
        """
        while True:
            if self._unacked:
                self.link.ack(self._unacked)
                self._unacked = 0
            try:
                frame = self._frames.get(timeout=timeout_s)
            except Empty:
                raise TimeoutError(f"the sandbox was silent for {timeout_s:g} s") from None
            if isinstance(frame, SandboxError):
                raise frame
            if not isinstance(frame, State):
                self._unacked = frame.seq
            if not self._serve(frame):
                return frame

    def wait_for(self, kind: type[FrameT], timeout_s: float) -> FrameT:
        """The next frame of this kind; others are passed over. Raises like `next`; a refusal is `ProtocolViolation`."""
        while True:
            frame = self.next(timeout_s)
            if isinstance(frame, kind):
                return frame
            if isinstance(frame, RunnerError):
                raise ProtocolViolation(f"the sandbox refused: {frame.code}: {frame.message}")

    def close(self) -> None:
        self.link.close()
