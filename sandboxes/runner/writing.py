"""The supervisor's side of writing snapshots down: one writer at a time, its deadlines, and the parts on their way."""

from __future__ import annotations

import os
import time

from sandboxes.runner.checks import Rejected, check_blobs, check_data, required_text
from sandboxes.runner.forkline import ForkLine
from sandboxes.runner.taken import Base
from sandboxes.runner.wire import clip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandboxes.runner.framelog import FrameLog
    from sandboxes.runner.options import Options
    from sandboxes.runner.taken import Taken
    from sandboxes.runner.watcher import Watcher
    from sandboxes.runner.wire import Spool

VARIABLE_S = 10.0
WRITE_S = 120.0
MAX_CULPRITS = 8
BLANK_TRIES = 2
"""Tries of a writer that ended before it named a variable."""
MAX_BASE_BYTES = 64 * 1024 * 1024
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
OUT = ".rlm/out/"
COPY_ENDED = "its copy was ended, by code of the session or for lack of memory"


class Writer:
    """One try to write one snapshot down."""

    def __init__(self, snapshot: Taken) -> None:
        self.snapshot = snapshot
        self.line = ForkLine()
        self.result = os.memfd_create("result")
        """Memory that it fills with the manifest and what the next one starts from."""
        self.name = ""
        """The variable that it is at."""
        self.parts = 0
        self.acked = 0
        """Parts acknowledged since it was last told."""
        self.waiting = False
        self._left_s = WRITE_S
        self._variable_from = self._clock_from = time.monotonic()

    @property
    def deadline(self) -> float:
        if self.waiting:
            return float("inf")
        return min(self._variable_from + VARIABLE_S, self._clock_from + self._left_s)

    def overdue(self) -> str:
        """What took too long."""
        whole = time.monotonic() >= self._clock_from + self._left_s
        return f"saving it took more than {WRITE_S if whole else VARIABLE_S:g} s"

    def goes_on(self) -> None:
        """It did something."""
        self._variable_from = time.monotonic()

    def hold_clock(self) -> None:
        """It may have said something that is not read yet."""
        self._variable_from = self._clock_from = time.monotonic()

    def wait(self) -> None:
        """Its clock stands still until the host has taken parts."""
        self.waiting = True
        self._left_s -= time.monotonic() - self._clock_from
        self.tell_acked()

    def tell_acked(self) -> None:
        if self.waiting and self.acked:
            self.waiting = False
            self._variable_from = self._clock_from = time.monotonic()
            self.line.send({"t": "acked", "acked": self.acked})
            self.acked = 0


class Writing:
    """`finished(snapshot, payload, error)` is called when a snapshot is written down, or will not be."""

    def __init__(
        self,
        options: Options,
        log: FrameLog,
        spool: Spool,
        watcher: Watcher,
        finished: Callable[[Taken, Any, str], int],
    ) -> None:
        self._workspace = options.workspace
        self._log = log
        self._spool = spool
        self._watcher = watcher
        self._finished = finished
        self._writer: Writer | None = None
        self._blank_tries = 0
        self._files: list[tuple[int, str, bool]] = []
        """(number of the frame that names it, path, whether it is a part) of files that go when it is acknowledged; a part
        that is in its frame has no path."""
        self._known = os.memfd_create("known")
        """Hashes of all contents that were in parts so far, one behind the other."""
        self._exclude: dict[str, list[str]] = {}
        self.base: Base | None = None

    def is_at(self, snapshot: Taken) -> bool:
        return self._writer is not None and self._writer.snapshot is snapshot

    @property
    def idle(self) -> bool:
        return self._writer is None

    def start(self, snapshot: Taken, copy: ForkLine) -> None:
        """Have the parked copy fork a writer."""
        if snapshot.full:
            self._forget_sent()
        writer = self._writer = Writer(snapshot)
        self._watcher.add(
            writer.line, lambda message: self._message(writer, message), lambda why: self._ended(writer, why)
        )
        request: dict[str, Any] = {
            "t": "write",
            "id": snapshot.id,
            "prefix": f"snapshot-{snapshot.number}-{len(snapshot.exclude) + self._blank_tries}",
            "ahead": sum(1 for _, _, is_part in self._files if is_part),
            "exclude": {**self._exclude, **snapshot.exclude},
        }
        descriptors = [writer.line.other_end(), self._known, writer.result]
        base = self.base
        if base and base.generation == snapshot.generation:
            request.update(base=base.id, base_at=base.start)
            descriptors.append(base.result)
        copy.send(request, descriptors)
        writer.line.let_go()

    def forget_repl(self) -> None:
        """Another REPL process follows, with variables of its own."""
        self._exclude.clear()

    def _forget_sent(self) -> None:
        """The host lost contents: nothing counts as sent, and there is no snapshot to go on from."""
        os.ftruncate(self._known, 0)
        if self.base:
            self.base.close()
            self.base = None

    # What the writer says ---------------------------------------------------------------------------------------

    def _message(self, writer: Writer, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "at":
            writer.name = required_text(message["name"], 200)
            writer.goes_on()
        elif kind == "part":
            self._part(writer, message)
        elif kind == "waiting":
            writer.wait()
        elif kind == "done":
            self._done(writer, int(message["manifest_bytes"]), int(message["base_bytes"]))
        elif kind == "failed":
            self._stop(writer)
            self._end(writer.snapshot, None, required_text(message["error"], 500))
        elif kind == "raised":
            self._ended(writer, f"saving it raised {required_text(message['error'], 100)}")
        elif kind != "hello":
            raise Rejected(f"unknown message {clip(str(kind), 40)!r}")

    def _part(self, writer: Writer, message: dict[str, Any]) -> None:
        blobs = check_blobs(message["blobs"])
        writer.parts += 1
        frame: dict[str, Any] = {"type": "snapshot_part", "id": writer.snapshot.id, "blobs": blobs}
        path = ""
        if "data" in message:
            frame["data"] = check_data(message["data"], sum(size for _, size in blobs))
        else:
            path = frame["file"] = _part_path(message["file"], writer.parts)
        writer.goes_on()
        writer.snapshot.parts += 1
        self._log.add({**frame, "part": writer.snapshot.parts})
        self._files.append((self._log.last_seq, path, True))
        os.pwrite(self._known, b"".join(bytes.fromhex(sha256) for sha256, _ in blobs), os.fstat(self._known).st_size)

    def _done(self, writer: Writer, manifest_bytes: int, base_bytes: int) -> None:
        if not 0 < manifest_bytes <= MAX_MANIFEST_BYTES or not 0 <= base_bytes <= MAX_BASE_BYTES:
            raise Rejected("a result of that size is not taken")
        manifest = os.pread(writer.result, manifest_bytes, 0).decode()
        snapshot = writer.snapshot
        if self.base:
            self.base.close()
        self.base = Base(snapshot, os.dup(writer.result), manifest_bytes)
        self._exclude.update(snapshot.exclude)
        self._stop(writer)
        payload = self._spool.payload(manifest)
        seq = self._end(snapshot, payload, "")
        if "file" in payload:
            self._files.append((seq, payload["file"], False))

    def _ended(self, writer: Writer, why: str) -> None:
        """It ended, or was ended, before it was done: again, without the variable that it was at."""
        self._stop(writer)
        snapshot, name = writer.snapshot, writer.name
        reason = why or "saving it ended the process that saves"
        if name and name not in snapshot.exclude:
            snapshot.exclude[name] = [snapshot.id, f"{reason}, so it is left out"]
        else:
            self._blank_tries += 1
        if not snapshot.line:
            self._end(snapshot, None, COPY_ENDED)
        elif len(snapshot.exclude) > MAX_CULPRITS or self._blank_tries > BLANK_TRIES:
            count = len(snapshot.exclude)
            several = f"{count} variables could not be saved, the last one {name!r}: {reason}"
            self._end(snapshot, None, several if count else reason)
        else:
            self.start(snapshot, snapshot.line)

    def _stop(self, writer: Writer) -> None:
        self._writer = None
        writer.line.kill()
        self._watcher.remove(writer.line)
        os.close(writer.result)

    def _end(self, snapshot: Taken, payload: Any, error: str) -> int:
        self._blank_tries = 0
        return self._finished(snapshot, payload, error)

    # The host and the clock -------------------------------------------------------------------------------------

    def acked(self, seq: int) -> None:
        """The host has what these frames name: their files may go, and the writer may go on."""
        gone = [entry for entry in self._files if entry[0] <= seq]
        if not gone:
            return
        del self._files[: len(gone)]
        for path in (path for _, path, _ in gone if path):
            try:
                os.unlink(os.path.join(self._workspace, path))
            except OSError:
                pass  # code was there before us
        if self._writer:
            self._writer.acked += sum(1 for _, _, is_part in gone if is_part)
            self._writer.tell_acked()

    def next_timer(self) -> float:
        return self._writer.deadline if self._writer else float("inf")

    def check_clock(self, now: float) -> None:
        writer = self._writer
        if writer and self._log.full:
            writer.hold_clock()
        elif writer and now >= writer.deadline:
            self._ended(writer, writer.overdue())


def _part_path(path: Any, number: int) -> str:
    if type(path) is not str or not path.startswith(f"{OUT}snapshot-") or not path.endswith(f"-{number}.bin"):
        raise Rejected("a part has a name of its own")
    if "/" in path[len(OUT) :] or len(path) > 100:
        raise Rejected(f"a part lies in {OUT}")
    return path
