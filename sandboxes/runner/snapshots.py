"""The supervisor's side of snapshots: the parked copies, and one writer at a time that writes the oldest of them down."""

from __future__ import annotations

import os
import time

from sandboxes.runner.checks import Rejected, check_blobs, required_text
from sandboxes.runner.forkline import ForkLine
from sandboxes.runner.wire import clip
from sandboxes.runner.workspace import discard_aside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.framelog import FrameLog
    from sandboxes.runner.options import Options
    from sandboxes.runner.process import ReplProcess
    from sandboxes.runner.watcher import Watcher
    from sandboxes.runner.wire import Spool

TAKE_S = 15.0
"""Most time to fork a copy; only code that hooks into forks needs more than a moment."""
VARIABLE_S = 10.0
WRITE_S = 120.0
MAX_CULPRITS = 8
BLANK_TRIES = 2
"""Tries of a writer that ended before it named a variable."""
MAX_PARKED = 100
KEPT_SNAPSHOTS = 256
"""Snapshots whose results can be asked for again."""
MAX_PREVIOUS_BYTES = 64 * 1024 * 1024
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
FOREVER = float("inf")
COPY_ENDED = "its copy was ended, by code of the session or for lack of memory"


class Taken:
    """One snapshot from the request on."""

    def __init__(self, id: str, number: int, generation: int, *, live: bool, durable: bool) -> None:
        self.id = id
        self.number = number
        self.generation = generation
        """Which REPL process it is of."""
        self.live = live
        self.durable = durable
        self.line: ForkLine | None = None
        """To the parked copy."""
        self.parked = False
        self.asked_at = time.monotonic()
        self.reply: dict[str, Any] | None = None
        """The `snapshot_taken` that was sent."""
        self.result: dict[str, Any] | None = None
        """The `snapshot_done` that was sent."""
        self.exclude: dict[str, list[str]] = {}
        self.parts = 0

    @property
    def pending(self) -> bool:
        return self.durable and self.result is None

    @property
    def status(self) -> str:
        if self.reply is None:
            return "taking"
        if self.result is None:
            return "writing" if self.durable else "taken"
        return "failed" if self.result.get("error") else "done"


class Writing:
    """The writer at work: one try to write one snapshot down."""

    def __init__(self, snapshot: Taken, line: ForkLine, result: int) -> None:
        self.snapshot = snapshot
        self.line = line
        self.result = result
        """Memory that the writer fills with the manifest and what the next one starts from."""
        self.name = ""
        """The variable it is at."""
        self.parts = 0
        self.acked = 0
        """Parts acknowledged since it was last told."""
        self.left_s = WRITE_S
        self.variable_from = self.clock_from = time.monotonic()
        self.waiting = False

    @property
    def deadline(self) -> float:
        if self.waiting:
            return FOREVER
        return min(self.variable_from + VARIABLE_S, self.clock_from + self.left_s)

    def wait(self) -> None:
        self.waiting = True
        self.left_s -= time.monotonic() - self.clock_from

    def go_on(self) -> None:
        """Tell the writer how many parts the host has taken."""
        self.waiting = False
        self.variable_from = self.clock_from = time.monotonic()
        self.line.send({"t": "acked", "acked": self.acked})
        self.acked = 0


class Snapshots:
    def __init__(self, options: Options, log: FrameLog, spool: Spool, watcher: Watcher) -> None:
        self._workspace = options.workspace
        self._log = log
        self._spool = spool
        self._watcher = watcher
        self._all: dict[str, Taken] = {}
        self._count = 0
        self._generation = 0
        self._files: list[tuple[int, str, bool]] = []
        """(number of the frame that names it, path, whether it is a part) of files that go when it is acknowledged."""
        self._known = os.memfd_create("known")
        self._base: tuple[int, str, int, int] | None = None
        """Generation and id of the newest snapshot that is complete, its result and where in there `base` begins."""
        self._exclude: dict[str, list[str]] = {}
        self._writing: Writing | None = None
        self._blank_tries = 0

    # Requests ---------------------------------------------------------------------------------------------------

    def request(self, frame: dict[str, Any], child: ReplProcess) -> None:
        id = required_text(frame["id"], 200)
        known = self._all.get(id)
        if known:
            for answer in (known.reply, known.result):
                if answer:
                    self._log.add(dict(answer))
            return
        self._count += 1
        snapshot = Taken(
            id, self._count, self._generation, live=frame.get("live", True), durable=frame.get("durable", True)
        )
        self._all[id] = snapshot
        line = snapshot.line = ForkLine()
        self._watcher.add(
            line, lambda message: self._from_copy(snapshot, message), lambda _: self._copy_ended(snapshot)
        )
        message = {
            "t": "snapshot",
            "n": snapshot.number,
            "id": id,
            "durable": snapshot.durable,
            "folder": _folder(snapshot),
        }
        if self._base and self._base[0] == self._generation:
            message["base"] = self._base[1]
        child.send(message, [line.other_end()])
        line.let_go()
        self._forget()

    def _forget(self) -> None:
        for snapshot in list(self._all.values())[: max(0, len(self._all) - KEPT_SNAPSHOTS)]:
            if not snapshot.line and not snapshot.pending:
                del self._all[snapshot.id]

    def states(self) -> dict[str, str]:
        """For a new host: what became of each snapshot."""
        return {snapshot.id: snapshot.status for snapshot in self._all.values()}

    def find_live(self, id: str) -> ForkLine | None:
        snapshot = self._all.get(id)
        return snapshot.line if snapshot and snapshot.live else None

    # The REPL ---------------------------------------------------------------------------------------------------

    def taken(self, message: dict[str, Any]) -> None:
        """The REPL goes on. Raises `Rejected` when it was not asked."""
        snapshot = next((each for each in self._all.values() if each.reply is None), None)
        if snapshot is None or message.get("n") != snapshot.number:
            raise Rejected("no such snapshot was asked for")
        threads = message.get("threads")
        if type(threads) is not int:
            raise Rejected("threads must be counted")
        error = message.get("error")
        if error is not None or snapshot.line is None:
            self._not_taken(snapshot, required_text(error or COPY_ENDED, 300))
            return
        reason = f"{threads} other threads were running; they are not copied" if threads and snapshot.live else ""
        snapshot.live = snapshot.live and not threads
        self._answer(snapshot, reason)
        self.start_next()

    def _answer(self, snapshot: Taken, reason: str) -> None:
        snapshot.reply = {
            "type": "snapshot_taken",
            "id": snapshot.id,
            "live": snapshot.live,
            "reason": reason,
            "blocked_ms": round((time.monotonic() - snapshot.asked_at) * 1000, 3),
        }
        self._log.add(dict(snapshot.reply))

    def _not_taken(self, snapshot: Taken, reason: str) -> None:
        snapshot.live = False
        self._answer(snapshot, reason)
        if snapshot.durable:
            self._fail(snapshot, reason)
        self._drop_copy(snapshot)

    def repl_ended(self, why: str) -> None:
        """What was not yet copied is lost; what is parked is not."""
        for snapshot in list(self._all.values()):
            if snapshot.reply is None:
                self._not_taken(snapshot, f"the REPL process ended meanwhile: {why}")
        self._generation += 1
        self._exclude.clear()

    def overdue(self, now: float) -> bool:
        """Whether the REPL takes too long to fork."""
        return any(each.reply is None and now > each.asked_at + TAKE_S for each in self._all.values())

    def meet(self, timeout_s: float) -> None:
        """Wait a moment for forks that have not said yet who they are."""
        end = time.monotonic() + timeout_s
        while any(not line.pid for line in self._watcher.lines()) and time.monotonic() < end:
            self._watcher.read(max(0.001, end - time.monotonic()))

    # Parked copies ----------------------------------------------------------------------------------------------

    def _from_copy(self, snapshot: Taken, message: dict[str, Any]) -> None:
        if message.get("t") != "parked" or snapshot.parked:
            raise Rejected("a parked copy says one thing only")
        snapshot.parked = True
        assert snapshot.line is not None
        try:
            os.setpgid(snapshot.line.pid, snapshot.line.pid)
        except OSError:
            pass  # it has done so itself, or is not our child
        if message.get("shared") is True:
            self._no_longer_live([snapshot])
        self._limit_copies()
        self.start_next()

    def _copy_ended(self, snapshot: Taken) -> None:
        if snapshot.reply is None:
            self._drop_copy(snapshot)
            return
        if snapshot.pending and not (self._writing and self._writing.snapshot is snapshot):
            self._fail(snapshot, COPY_ENDED)
        self._no_longer_live([snapshot])
        self._drop_copy(snapshot)
        self.start_next()

    def _no_longer_live(self, snapshots: list[Taken]) -> None:
        gone = [snapshot for snapshot in snapshots if snapshot.live]
        for snapshot in gone:
            snapshot.live = False
        ids = [snapshot.id for snapshot in gone if snapshot.reply]
        if ids:
            self._log.add({"type": "live_dropped", "ids": ids})

    def _drop_copy(self, snapshot: Taken) -> None:
        if snapshot.line:
            self._watcher.remove(snapshot.line)
            snapshot.line = None

    def _limit_copies(self) -> None:
        parked = [snapshot for snapshot in self._all.values() if snapshot.line]
        over = [snapshot for snapshot in parked if not snapshot.pending][: max(0, len(parked) - MAX_PARKED)]
        self._no_longer_live(over)
        for snapshot in over:
            self._drop_copy(snapshot)

    @property
    def parked(self) -> int:
        return sum(1 for snapshot in self._all.values() if snapshot.line)

    # Writing ----------------------------------------------------------------------------------------------------

    def start_next(self) -> None:
        """Let the oldest snapshot that waits for it be written down, unless one is."""
        if self._writing:
            return
        snapshot = next((each for each in self._all.values() if each.pending), None)
        if snapshot and snapshot.reply and snapshot.parked and snapshot.line:
            self._start(snapshot, snapshot.line)

    def _start(self, snapshot: Taken, copy: ForkLine) -> None:
        line = ForkLine()
        writing = self._writing = Writing(snapshot, line, os.memfd_create("result"))
        self._watcher.add(
            line, lambda message: self._from_writer(writing, message), lambda why: self._retry(writing, why)
        )
        request: dict[str, Any] = {
            "t": "write",
            "id": snapshot.id,
            "prefix": f"snapshot-{snapshot.number}-{len(snapshot.exclude) + self._blank_tries}",
            "ahead": sum(1 for _, _, part in self._files if part),
            "exclude": {**self._exclude, **snapshot.exclude},
        }
        descriptors = [line.other_end(), self._known, writing.result]
        if self._base and self._base[0] == snapshot.generation:
            _, request["base"], base, request["base_at"] = self._base
            descriptors.append(base)
        copy.send(request, descriptors)
        line.let_go()

    def _from_writer(self, writing: Writing, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "at":
            writing.name = required_text(message["name"], 200)
            writing.variable_from = time.monotonic()
        elif kind == "part":
            self._part(writing, message)
        elif kind == "waiting":
            writing.wait()
            if writing.acked:
                writing.go_on()
        elif kind == "done":
            self._done(writing, int(message["manifest_bytes"]), int(message["base_bytes"]))
        elif kind == "failed":
            self._stop(writing)
            self._fail(writing.snapshot, required_text(message["error"], 500))
            self.start_next()
        elif kind != "hello":
            raise Rejected(f"unknown message {clip(str(kind), 40)!r}")

    def _part(self, writing: Writing, message: dict[str, Any]) -> None:
        path, blobs = message["file"], check_blobs(message["blobs"])
        writing.parts += 1
        expected = f"-{writing.parts}.bin"
        if type(path) is not str or not path.startswith(".rlm/out/snapshot-") or not path.endswith(expected):
            raise Rejected("a part has a name of its own")
        if "/" in path[len(".rlm/out/") :] or len(path) > 100:
            raise Rejected("a part lies in .rlm/out/")
        os.write(self._known, b"".join(bytes.fromhex(sha256) for sha256, _ in blobs))
        writing.variable_from = time.monotonic()
        writing.snapshot.parts += 1
        frame = {
            "type": "snapshot_part",
            "id": writing.snapshot.id,
            "part": writing.snapshot.parts,
            "file": path,
            "blobs": blobs,
        }
        self._log.add(frame)
        self._files.append((self._log.last_seq, path, True))

    def acked(self, seq: int) -> None:
        """The host has what these frames name: their files may go, and the writer may go on."""
        gone = [entry for entry in self._files if entry[0] <= seq]
        if not gone:
            return
        self._files = self._files[len(gone) :]
        for _, path, _ in gone:
            try:
                os.unlink(os.path.join(self._workspace, path))
            except OSError:
                pass  # code was there before us
        writing = self._writing
        if writing:
            writing.acked += sum(1 for _, _, part in gone if part)
            if writing.waiting and writing.acked:
                writing.go_on()

    def _done(self, writing: Writing, manifest_bytes: int, base_bytes: int) -> None:
        snapshot = writing.snapshot
        if not 0 < manifest_bytes <= MAX_MANIFEST_BYTES or not 0 <= base_bytes <= MAX_PREVIOUS_BYTES:
            raise Rejected("a result of that size is not taken")
        manifest = os.pread(writing.result, manifest_bytes, 0).decode("utf-8")
        result = self._stop(writing, keep_result=True)
        if self._base:
            os.close(self._base[2])
        self._base = (snapshot.generation, snapshot.id, result, manifest_bytes)
        self._exclude.update(snapshot.exclude)
        payload = self._spool.payload(manifest)
        self._finish(
            snapshot,
            {
                "manifest": payload,
                "duration_ms": round((time.monotonic() - snapshot.asked_at) * 1000, 3),
            },
        )
        if "file" in payload:
            self._files.append((self._log.last_seq, payload["file"], False))
        self.start_next()

    def _fail(self, snapshot: Taken, error: str) -> None:
        self._finish(snapshot, {"error": f"snapshot {clip(snapshot.id, 100)} was not written down: {error}"})

    def _finish(self, snapshot: Taken, fields: dict[str, Any]) -> None:
        self._blank_tries = 0
        snapshot.result = {"type": "snapshot_done", "id": snapshot.id, **fields}
        self._log.add(dict(snapshot.result))
        discard_aside(os.path.join(self._workspace, _folder(snapshot)))
        if not snapshot.live:
            self._drop_copy(snapshot)

    def _stop(self, writing: Writing, *, keep_result: bool = False) -> int:
        """Let go of the writer and of its result, unless that is kept: then its descriptor is returned."""
        self._writing = None
        writing.line.kill()
        self._watcher.remove(writing.line)
        if not keep_result:
            os.close(writing.result)
        return writing.result

    def _retry(self, writing: Writing, why: str) -> None:
        """The writer ended, or was ended, before it was done: again without the variable that it was at."""
        self._stop(writing)
        snapshot, name = writing.snapshot, writing.name
        reason = why or "saving it ended the process that saves"
        if name:
            snapshot.exclude[name] = [snapshot.id, f"{reason}, so it is left out"]
        else:
            self._blank_tries += 1
        if not snapshot.line:
            self._fail(snapshot, COPY_ENDED)
        elif len(snapshot.exclude) > MAX_CULPRITS or self._blank_tries > BLANK_TRIES:
            self._fail(snapshot, f"{len(snapshot.exclude)} variables could not be saved; at {name!r}: {reason}")
        self.start_next()

    # Clock ------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float:
        times = [each.asked_at + TAKE_S for each in self._all.values() if each.reply is None]
        if self._writing:
            times.append(self._writing.deadline)
        return min(times, default=FOREVER)

    def check_clock(self, now: float) -> None:
        writing = self._writing
        if writing and now >= writing.deadline:
            whole = now >= writing.clock_from + writing.left_s
            self._retry(writing, f"saving it took more than {WRITE_S if whole else VARIABLE_S:g} s")


def _folder(snapshot: Taken) -> str:
    return f".rlm/keep/{snapshot.number}"
