"""Frames to a runner that have not shown an effect yet: a stream that breaks may have swallowed them.

All of them carry ids, and the runner takes one that it has seen for done, so they are simply sent again.
"""

from __future__ import annotations

from collections import OrderedDict

from sandboxes.frames import (
    Answer,
    Exec,
    Finished,
    HostFrame,
    Interrupt,
    Need,
    Restore,
    Restored,
    RunnerError,
    RunnerFrame,
    Setup,
    SetupDone,
    SnapshotDone,
    SnapshotTaken,
    Supply,
    TakeSnapshot,
)

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Answers of a cell that asks for very many stay no longer than this: the oldest have surely arrived."""


class Unanswered:
    """In the order in which they were sent."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._size_bytes = 0

    def sent(self, frame: HostFrame, line: bytes) -> None:
        key = _key(frame)
        if key is None:
            return
        self._drop(key)
        self._kept[key] = line
        self._size_bytes += len(line)
        while self._size_bytes > MAX_KEPT_BYTES:
            self._drop(next(iter(self._kept)))

    def received(self, frame: RunnerFrame) -> None:
        """What the runner says shows that it has something."""
        match frame:
            case SetupDone():
                self._drop(("setup", frame.id))
            case Restored():
                self._drop_all("restore", "supply")
            case Need():
                self._drop_all("supply")
            case SnapshotTaken():
                self._drop(("snapshot", frame.id, "live"))
            case SnapshotDone():
                self._drop(("snapshot", frame.id, "durable"))
            case Finished():
                self._drop(("exec", frame.cell))
                self._drop_all("answer", "interrupt", "supply")
            case RunnerError():
                for key in [key for key in self._kept if frame.id in key[1:]]:
                    self._drop(key)

    def lines(self) -> list[bytes]:
        return list(self._kept.values())

    def _drop(self, key: tuple[str, ...]) -> None:
        line = self._kept.pop(key, b"")
        self._size_bytes -= len(line)

    def _drop_all(self, *kinds: str) -> None:
        for key in [key for key in self._kept if key[0] in kinds]:
            self._drop(key)


def _key(frame: HostFrame) -> tuple[str, ...] | None:
    """None for frames that need no second sending: a later one of the kind says the same."""
    match frame:
        case Exec():
            return ("exec", frame.id)
        case Setup():
            return ("setup", frame.id)
        case Restore():
            return ("restore", frame.id)
        case Supply():
            return ("supply", frame.id)
        case TakeSnapshot():
            return ("snapshot", frame.id, "durable" if frame.durable else "live")
        case Answer():
            return ("answer", frame.call, str(frame.index))
        case Interrupt():
            return ("interrupt", frame.cell)
        case _:
            return None
