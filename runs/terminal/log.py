"""One line or a few for each event: for pipes, files and terminals that cannot move their cursor."""

from __future__ import annotations

from collections.abc import Iterator

from runs.events import types
from runs.terminal.plain import first_line, fit, head, safe, safe_lines

MOST_LINES = 20
COLUMNS = 160


def lines_of(event: types.AnyEvent, elapsed_s: float) -> Iterator[str]:
    """What to print about an event; nothing for those that only a page needs."""
    stamp = f"{elapsed_s:8.1f}s  "
    for number, line in enumerate(_said(event)):
        yield (stamp if number == 0 else " " * len(stamp)) + fit(line, COLUMNS)


def _said(event: types.AnyEvent) -> Iterator[str]:
    match event:
        case types.SessionStarted():
            labels = f" [{', '.join(event.labels)}]" if event.labels else ""
            yield f"session{labels}: {first_line(event.question)}"
            yield safe(f"context {event.context.get('name')}, {event.context.get('size_bytes'):,} bytes")
        case types.SessionStopRequested():
            yield f"{safe(event.by)} asked to stop {'the session' if event.node == 0 else f'node {event.node}'}"
        case types.NodeStarted(parent=int()):
            yield f"node {event.node} (depth {event.depth}, called by node {event.parent}): {first_line(event.prompt)}"
        case types.NodeSandbox(state="lost" | "rebuilt"):
            yield f"node {event.node}: sandbox {event.state} {safe(event.reason)}"
        case types.NodeFinished() if event.node:
            yield f"node {event.node} {event.status}: {first_line(event.answer)}"
        case types.LmStarted(kind="turn" | "compaction" | "final"):
            yield f"node {event.node} step {event.step}: asks {safe(event.model)} ({event.kind})"
        case types.CellStarted():
            yield f"node {event.node} step {event.step} cell {event.cell}{' (built in)' if event.built_in else ''}"
            yield from _block("> ", head(event.code))
        case types.CellOutput():
            yield from _block("! " if event.stream == "stderr" else "| ", head(event.text).rstrip("\n"))
        case _:
            yield from _said_of_ends(event)


def _said_of_ends(event: types.AnyEvent) -> Iterator[str]:
    match event:
        case types.CellFinished() if event.error is not None:
            yield f"node {event.node} step {event.step} cell {event.cell}: {_error(event.error)}"
        case types.SubcallOpened():
            yield f"node {event.node} step {event.step}: {event.count} {event.kind} call(s)"
        case types.SubcallClosed() if event.failed:
            yield f"node {event.node} step {event.step}: {event.failed} call(s) failed"
        case types.LmFailed():
            yield f"node {event.node}: LM call {event.call} failed: {_error(event.error)}"
        case types.StepRetried():
            yield f"node {event.node} step {event.step}: taken up again ({safe(event.reason)})"
        case types.LimitHit():
            yield f"limit {event.limit} reached: {event.used:g} of {event.allowed:g}"
        case types.Log() | types.Gap():
            message = event.message if isinstance(event, types.Log) else f"something is missing: {event.reason}"
            yield safe(message)
        case types.SessionFinished():
            yield f"session {event.status}" + (f": {_error(event.error)}" if event.error is not None else "")
        case _:
            return


def _block(mark: str, text: str) -> Iterator[str]:
    lines = safe_lines(text)
    for line in lines[:MOST_LINES]:
        yield mark + line
    if len(lines) > MOST_LINES:
        yield f"{mark}… {len(lines) - MOST_LINES} more lines"


def _error(error: types.ErrorInfo) -> str:
    return safe(f"{error.type}: {error.message}")
