"""What becomes of a cell: its record in the step's state, and the events about it."""

from __future__ import annotations

from runs.engine import observation
from runs.engine.state import CellRecord, NodeState, Stream
from runs.events.types import CellFinished, CellOutput, CellStarted, ErrorInfo, VariableInfo
from sandboxes.frames import Finished, Output


def take_output(record: CellRecord, frame: Output, limit_chars: int) -> None:
    stream = record.stdout if frame.stream == "stdout" else record.stderr
    observation.append(stream, frame.text, limit_chars)


def take_finished(record: CellRecord, node: NodeState, frame: Finished) -> None:
    """Note how the cell ended, in its record and in what the node carries on."""
    record.status = frame.status
    record.variables = [variable.name for variable in frame.variables]
    if frame.error is not None:
        record.error_type, record.error_message = frame.error.type, frame.error.message
        record.traceback = frame.error.traceback
    if frame.final is not None:
        record.final = frame.final.text or ""
    if frame.partial is not None:
        node.partial = frame.partial.text or ""
    if not record.built_in:
        node.cells_run += 1
        node.consecutive_errors = 0 if frame.status == "ok" else node.consecutive_errors + 1


def begin_again(record: CellRecord) -> None:
    """The cell's sandbox was lost: what it printed is void, what it asked is on record."""
    record.attempt += 1
    record.stdout, record.stderr = Stream(), Stream()


def started_event(node: int, step: int, cell: int, record: CellRecord) -> CellStarted:
    return CellStarted(
        node=node, step=step, cell=cell, code=record.code, attempt=record.attempt, built_in=record.built_in
    )


def output_event(node: int, step: int, cell: int, frame: Output) -> CellOutput:
    return CellOutput(node=node, step=step, cell=cell, stream=frame.stream, text=frame.text, late=frame.late)


def finished_event(node: int, step: int, cell: int, frame: Finished) -> CellFinished:
    error = frame.error
    return CellFinished(
        node=node,
        step=step,
        cell=cell,
        status=frame.status,
        duration_ms=int(frame.duration_ms),
        error=ErrorInfo(error.type, error.message, detail=error.traceback) if error is not None else None,
        variables=[VariableInfo(v.name, v.type, v.size, v.preview) for v in frame.variables],
        output_bytes=frame.output_bytes,
        dropped_bytes=frame.dropped_bytes,
        answered=frame.final is not None,
    )
