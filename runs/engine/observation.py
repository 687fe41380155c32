"""What the model sees of the cells it wrote: output cut to fit, errors, the names that exist now.

All output is recorded; only the prompt is cut, from the middle, with the true size in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from runs.engine.io import ChatMessage
from runs.engine.state import CellRecord, Stream

MAX_NAMES = 60


def append(stream: Stream, text: str, limit_chars: int) -> None:
    """Add to what is kept of a stream: its first three quarters of the limit and its last quarter."""
    stream.chars += len(text)
    room = max(0, limit_chars * 3 // 4 - len(stream.head))
    stream.head += text[:room]
    stream.tail = (stream.tail + text[room:])[-max(1, limit_chars // 4) :]


def shown(stream: Stream) -> str:
    """The stream as the model sees it."""
    omitted = stream.chars - len(stream.head) - len(stream.tail)
    if omitted <= 0:
        return stream.head + stream.tail
    return f"{stream.head}\n[... {omitted} of {stream.chars} characters left out ...]\n{stream.tail}"


def cell_report(cell: CellRecord) -> str:
    """One cell's outcome."""
    parts = [text for text in (shown(cell.stdout).rstrip(), shown(cell.stderr).rstrip()) if text]
    if cell.status == "error":
        parts.append(cell.traceback.rstrip() or f"{cell.error_type}: {cell.error_message}")
    elif cell.status == "timeout":
        parts.append("The cell was stopped: it ran past its time limit. Variables set before that are kept.")
    elif cell.status == "interrupted":
        parts.append("The cell was interrupted.")
    elif cell.status == "killed":
        parts.append("The Python process died (out of memory, or it was ended). All variables but `context` are lost.")
    return "\n".join(parts) or "(no output)"


def observation(cells: Sequence[CellRecord]) -> ChatMessage:
    """One user message for all cells of a turn, as in the published protocol."""
    many = len(cells) > 1
    reports = []
    for number, cell in enumerate(cells, start=1):
        header = f"REPL output (block {number}):" if many else "REPL output:"
        reports.append(f"{header}\n{cell_report(cell)}")
    names = cells[-1].variables[:MAX_NAMES] if cells else []
    if names:
        reports.append(f"REPL variables: {', '.join(names)}")
    return ChatMessage("user", "\n\n".join(reports))
