"""The supervisor's side of `evaluate`: scratch processes forked from parked copies, for clients beside the host."""

from __future__ import annotations

import os
import time

from sandboxes.runner.checks import Rejected, cell_error, required_text
from sandboxes.runner.forkline import ForkLine
from sandboxes.runner.output import CellOutput, OutputPipe
from sandboxes.runner.wire import INLINE_TEXT_BYTES, MAX_LINE_BYTES, clean, clip, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.framelog import FrameLog
    from sandboxes.runner.snapshots import Snapshots
    from sandboxes.runner.watcher import Watcher

MAX_AT_ONCE = 4
MAX_WAITING = 32
MAX_UNREAD_BYTES = 4 * 1024 * 1024
MAX_TIMEOUT_S = 60.0
START_S = 10.0
MAX_OUTPUT_BYTES = 256 * 1024
MAX_VALUE_CHARS = 80 * 1024
REPORTED = ("ok", "error", "no_snapshot", "unsupported", "killed")


class Evaluation:
    """One request from its arrival to its answer."""

    def __init__(self, client: int, frame: dict[str, Any]) -> None:
        self.client = client
        self.id = required_text(frame["id"], 200)
        self.snapshot = required_text(frame["snapshot"], 200)
        self.code = frame["code"]
        self.timeout_s = min(float(frame.get("timeout_s", 5.0)), MAX_TIMEOUT_S)
        limit = min(int(frame.get("max_output_bytes", MAX_OUTPUT_BYTES)), MAX_OUTPUT_BYTES)
        self.budget = CellOutput("", max(limit, 0))
        self.text: list[str] = []
        self.started = time.monotonic()
        self.deadline = self.started + START_S + self.timeout_s
        self.running = False
        self.line: ForkLine | None = None
        self.pipe: OutputPipe | None = None

    def note_output(self, frame: dict[str, Any]) -> None:
        self.text.append(frame["text"])

    def drain(self) -> None:
        if self.pipe:
            self.pipe.drain(time.monotonic(), self.note_output)


class Evaluations:
    def __init__(self, log: FrameLog, snapshots: Snapshots, watcher: Watcher) -> None:
        self._log = log
        self._snapshots = snapshots
        self._watcher = watcher
        self._running: list[Evaluation] = []
        self._waiting: list[Evaluation] = []

    # Requests ---------------------------------------------------------------------------------------------------

    def request(self, client: int, frame: dict[str, Any]) -> None:
        """Raises `ValueError`, `KeyError` or `TypeError` for a frame that is none."""
        if frame.get("type") != "evaluate":
            raise ValueError("beside the host, clients may only evaluate")
        evaluation = Evaluation(client, frame)
        if self._log.urgent_bytes > MAX_UNREAD_BYTES:
            return  # nobody reads the answers; the client gives up by itself
        if len(self._waiting) >= MAX_WAITING:
            self._answer(evaluation, {"status": "no_snapshot"})
            return
        self._waiting.append(evaluation)
        self._start_some()

    def _start_some(self) -> None:
        while self._waiting and len(self._running) < MAX_AT_ONCE:
            evaluation = self._waiting.pop(0)
            copy = self._snapshots.find_live(evaluation.snapshot)
            if copy is None:
                self._answer(evaluation, {"status": "no_snapshot"})
            else:
                self._start(evaluation, copy)

    def _start(self, evaluation: Evaluation, copy: ForkLine) -> None:
        line = evaluation.line = ForkLine()
        reader, writer = os.pipe()
        evaluation.pipe = OutputPipe(reader, "stdout", evaluation.budget)
        self._running.append(evaluation)
        self._watcher.add(
            line, lambda message: self._from_scratch(evaluation, message), lambda _: self._lost(evaluation)
        )
        request = {"t": "evaluate", "code": evaluation.code, "timeout_s": evaluation.timeout_s}
        copy.send(request, [line.other_end(), writer])
        os.close(writer)
        line.let_go()

    # The scratch process ----------------------------------------------------------------------------------------

    def _from_scratch(self, evaluation: Evaluation, message: dict[str, Any]) -> None:
        if message.get("t") == "hello" and not evaluation.running:
            evaluation.running = True
            evaluation.deadline = time.monotonic() + evaluation.timeout_s
            return
        if message.get("t") != "evaluated" or message.get("status") not in REPORTED:
            raise Rejected("not a report of an evaluation")
        report: dict[str, Any] = {"status": message["status"]}
        if message.get("error") is not None:
            report["error"] = cell_error(message["error"])
        value = message.get("value")
        if value is not None:
            if type(value) is not dict or type(value.get("size_bytes")) is not int:
                raise Rejected("a value is a text with its size")
            text = required_text(value.get("text"), MAX_VALUE_CHARS)
            report["value"] = {"text": text, "size_bytes": max(0, value["size_bytes"])}
        self._end(evaluation, report)

    def _lost(self, evaluation: Evaluation) -> None:
        self._end(evaluation, {"status": "killed"})

    def _end(self, evaluation: Evaluation, report: dict[str, Any]) -> None:
        self._running.remove(evaluation)
        if evaluation.line:
            evaluation.line.kill()
            self._watcher.remove(evaluation.line)
        evaluation.drain()
        self._answer(evaluation, report)
        if evaluation.pipe:
            evaluation.pipe.close()
        self._start_some()

    def _answer(self, evaluation: Evaluation, report: dict[str, Any]) -> None:
        frame: dict[str, Any] = {
            "type": "evaluated",
            "id": evaluation.id,
            **report,
            "output": clean("".join(evaluation.text)),
            "output_bytes": evaluation.budget.output_bytes,
            "duration_ms": round((time.monotonic() - evaluation.started) * 1000, 3),
        }
        line = {"type": "side", "n": evaluation.client, "frame": frame}
        if len(encode(line)) >= MAX_LINE_BYTES:  # escapes can make a line six times longer than its text
            frame["output"] = clip(frame["output"], INLINE_TEXT_BYTES)
            if "value" in frame:
                frame["value"]["text"] = clip(frame["value"]["text"], INLINE_TEXT_BYTES)
        self._log.add_unnumbered(line)

    # The loop ---------------------------------------------------------------------------------------------------

    def pipes(self) -> dict[int, OutputPipe]:
        """Output that may come."""
        return {each.pipe.descriptor: each.pipe for each in self._running if each.pipe and not each.pipe.closed}

    def next_timer(self) -> float:
        return min((each.deadline for each in self._running), default=float("inf"))

    def check_clock(self, now: float) -> None:
        for evaluation in list(self._running):
            if now >= evaluation.deadline:
                self._end(evaluation, {"status": "timeout"})
