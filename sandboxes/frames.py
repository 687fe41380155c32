"""The runner protocol, version 2: the frames that cross the boundary of a sandbox.

One JSON object a line, at most `MAX_LINE_BYTES`. Frames from the runner carry `seq` 1, 2, 3... for the life of the
runner; the host acknowledges them and the runner keeps what is not acknowledged (bounded), so that a host that comes
back says `attach {after}` and misses nothing. Requests are idempotent by their ids: the same `exec` or `answer` sent
twice has one effect. `sandboxes/docs/runner-protocol.md` is the written specification.

Everything from the runner is a claim by hostile code: decoding here validates shape and bounds, and the host alone
decides node, step, time and cost.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PROTOCOL_VERSION = 2
MAX_PART_BYTES = 8 * 1024 * 1024
MAX_PARTS_AHEAD = 4
MAX_NEEDED_BLOBS = 10_000


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """Text that may be too large for a line: inline, or a file below the workspace's `.rlm/` folder."""

    text: str | None = None
    file: str | None = None
    size_bytes: int = 0


class Variable(msgspec.Struct, frozen=True, omit_defaults=True):
    """One name in the REPL after a cell; `preview` is made in the sandbox under limits of time and size."""

    name: str
    type: str
    size: str = ""
    preview: str = ""


class CellError(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    message: str
    traceback: str = ""


# Host to runner -----------------------------------------------------------------------------------------------------


class Attach(msgspec.Struct, frozen=True, tag_field="type", tag="attach"):
    """Become the host. The runner answers with `state`, then sends every frame past `after` again."""

    id: str
    after: int = 0
    v: int = PROTOCOL_VERSION


class Setup(msgspec.Struct, frozen=True, tag_field="type", tag="setup", omit_defaults=True):
    """Prepare the REPL: load contexts (files of the workspace), define custom tools, set limits.

    `contexts[i]` becomes `context_i` and `contexts[0]` also `context`. `kind` is `text`, `json` or `bytes`.
    """

    id: str
    contexts: list[ContextFile] = []
    tools: list[Tool] = []
    recursion: bool = True
    """False: `rlm_query` is served as `llm_query` by the host (the depth limit is reached)."""
    max_output_bytes: int = 4 * 1024 * 1024
    """Most bytes of stdout and stderr that one cell may send; the rest is counted and dropped."""
    history: list[ContextFile] = []
    clock: float | None = None
    """Unix time at which the clocks of the REPL start; they then go on by a microsecond with each reading."""
    seed: int | None = None
    """Seed for everything in the REPL that is drawn by chance, the system's own generator included."""
    snapshots: bool = False
    """Snapshots will be asked for: what writing them down needs is loaded before code runs."""


class ContextFile(msgspec.Struct, frozen=True, omit_defaults=True):
    path: str
    kind: Literal["text", "json", "bytes"] = "text"
    sha256: str = ""
    """Hash of the file where the host keeps it as a blob: snapshots then refer to it and do not store it again."""


class BlobEntry(msgspec.Struct, frozen=True, array_like=True):
    """One content of a pack file: `size_bytes` bytes with this SHA-256."""

    sha256: str
    size_bytes: int


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A custom tool: Python source that defines `name`, or a JSON value bound to it."""

    name: str
    source: str | None = None
    value: msgspec.Raw | None = None
    description: str = ""


class Exec(msgspec.Struct, frozen=True, tag_field="type", tag="exec", omit_defaults=True):
    """Run one cell. A cell id that is running or done is not run again."""

    id: str
    code: Payload
    timeout_s: float = 0.0
    """Wall clock without the time spent waiting for sub-calls; 0 means none. The host keeps a clock of its own."""
    show: bool = False
    """Report the value of a last expression as `finished.value`, as an interactive Python would."""


class Answer(msgspec.Struct, frozen=True, tag_field="type", tag="answer", omit_defaults=True):
    """The answer to prompt `index` of sub-call `call`. `error` becomes the text `Error: ...` for the code."""

    call: str
    index: int = 0
    text: Payload | None = None
    error: str | None = None


class Ack(msgspec.Struct, frozen=True, tag_field="type", tag="ack"):
    """Every frame up to and including `seq` is on record; the runner may forget it."""

    seq: int


class Interrupt(msgspec.Struct, frozen=True, tag_field="type", tag="interrupt"):
    """Stop the cell: `KeyboardInterrupt` first, then the REPL child is killed and started anew."""

    cell: str
    reason: Literal["stop", "timeout", "limit"] = "stop"


class Shutdown(msgspec.Struct, frozen=True, tag_field="type", tag="shutdown"):
    pass


class TakeSnapshot(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot"):
    """Save the state between two cells; carried out once for an id, in the order of the requests.

    The REPL forks: `snapshot_taken` says that the next cell may run. The copy is written down in the background
    (`snapshot_part`..., `snapshot_done`) when `durable`, and kept to be forked from (`evaluate`) when `live`.
    """

    id: str
    live: bool = True
    durable: bool = True
    full: bool = False
    """The host lacks contents that were sent: all are sent again, but those that the sandbox was given itself."""


class Restore(msgspec.Struct, frozen=True, tag_field="type", tag="restore"):
    """Bring a REPL that was set up and ran no cell to the state of `manifest` (JSON text of a `Manifest`).

    Answered by `restored`. Variables come when code first names them (`need`, `supply`) unless `eager`.
    """

    id: str
    manifest: Payload
    eager: bool = False


class Supply(msgspec.Struct, frozen=True, tag_field="type", tag="supply"):
    """Answer to `need`: `pack` is a file of the workspace that holds the contents of `blobs`, one after the other.

    `missing` names contents that the host does not have (any more).
    """

    id: str
    pack: str = ""
    blobs: list[BlobEntry] = []
    missing: list[str] = []


class Evaluate(msgspec.Struct, frozen=True, tag_field="type", tag="evaluate"):
    """Run code in a throw-away fork of live snapshot `snapshot`; answered by `evaluated`. Side channel only.

    The fork may write no file, signal nobody outside itself and make no sub-calls. The value of a last expression is
    returned as its `repr`.
    """

    id: str
    snapshot: str
    code: Payload
    timeout_s: float = 5.0
    max_output_bytes: int = 256 * 1024


class SideToRunner(msgspec.Struct, frozen=True, tag_field="type", tag="side"):
    """A frame of another client than the host (a side channel), wrapped by the provider. `n` tells clients apart."""

    n: int
    frame: msgspec.Raw


HostFrame = Attach | Setup | Exec | Answer | Ack | Interrupt | Shutdown | TakeSnapshot | Restore | Supply | Evaluate


# Runner to host -----------------------------------------------------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, tag_field="type", tag="ready", omit_defaults=True):
    """The runner is up. `python` is its version; `v` the highest protocol version it speaks."""

    seq: int
    v: int = PROTOCOL_VERSION
    python: str = ""
    pid: int = 0


class SubCall(msgspec.Struct, frozen=True, tag_field="type", tag="subcall", omit_defaults=True):
    """Code called `llm_query(_batched)` or `rlm_query(_batched)` and waits for one answer per prompt.

    `call` is unique within the cell and deterministic for single-threaded code: `c1`, `c2`... in order of the calls.
    `blocking` says that the main thread of the cell waits for it.
    """

    seq: int
    cell: str
    call: str
    kind: Literal["llm", "rlm"]
    prompts: list[Payload]
    batch: bool = False
    blocking: bool = True
    model: str | None = None


class Output(msgspec.Struct, frozen=True, tag_field="type", tag="output", omit_defaults=True):
    """Bytes the cell wrote, decoded as UTF-8 with replacement. `late`: written after the cell had finished."""

    seq: int
    cell: str
    stream: Literal["stdout", "stderr"]
    text: str
    late: bool = False


class Finished(msgspec.Struct, frozen=True, tag_field="type", tag="finished", omit_defaults=True):
    """The cell is over.

    status: `ok`; `error` (it raised, see `error`); `interrupted`; `timeout`; `killed` (the REPL process is gone:
    killed, out of memory, `os._exit`; the namespace is lost and the next cell starts in a fresh one).
    """

    seq: int
    cell: str
    status: Literal["ok", "error", "interrupted", "timeout", "killed"]
    duration_ms: float
    error: CellError | None = None
    final: Payload | None = None
    """Set when the code gave an answer: `answer["ready"] = True`, `FINAL(x)` or `FINAL_VAR("x")`."""
    value: Payload | None = None
    """`repr` of the last expression, when `exec.show` asked for it and the code ended in one."""
    partial: Payload | None = None
    """`answer["content"]` while it is not ready, when it is not empty."""
    variables: list[Variable] = []
    output_bytes: int = 0
    dropped_bytes: int = 0
    threads: int = 0
    """Threads of the cell still alive at its end; they are frozen and what they print is `late`."""


class State(msgspec.Struct, frozen=True, tag_field="type", tag="state", omit_defaults=True):
    """Answer to `attach`: what the runner is doing. `last_seq` is the newest frame; `first_seq` the oldest it keeps."""

    id: str
    last_seq: int
    first_seq: int
    setup: str = ""
    """Id of the last `setup` that was carried out; empty when none was."""
    cell: str = ""
    status: Literal["idle", "running"] = "idle"
    outstanding: list[SubCall] = []
    """Sub-calls of the running cell with prompts that have no answer yet."""
    answered: dict[str, list[int]] = {}
    snapshots: dict[str, str] = {}
    """What became of the snapshots by their ids: `taking`, `taken` (live only), `writing`, `done`, `failed`."""
    need: Need | None = None
    """What a restored REPL waits for."""
    finished: list[Finished] = []
    """Results of the latest cells (a few), newest last, so that `exec` of a finished cell is answered from here."""


class SetupDone(msgspec.Struct, frozen=True, tag_field="type", tag="setup_done", omit_defaults=True):
    seq: int
    id: str
    variables: list[Variable] = []
    error: CellError | None = None
    notes: list[str] = []
    """What the user should know of the contexts, e.g. that bytes which are not UTF-8 were replaced."""


class RunnerError(msgspec.Struct, frozen=True, tag_field="type", tag="error", omit_defaults=True):
    """The runner could not carry out a request. `code`: `bad_frame`, `unsupported`, `busy`, `too_large`, `internal`."""

    seq: int
    code: str
    message: str
    id: str = ""


class SnapshotTaken(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot_taken", omit_defaults=True):
    """The state of snapshot `id` is set apart; the next cell changes nothing of it.

    `live`: a parked copy can be forked from. When not, `reason` says why (threads, no room...). An empty `reason` with
    `live` false: none was asked for.
    """

    seq: int
    id: str
    live: bool = False
    reason: str = ""
    blocked_ms: float = 0.0
    """How long the REPL could not have run a cell."""


class SnapshotPart(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot_part"):
    """New contents of snapshot `id`, one after the other: few and small ones are `data` itself, else they are in `file`,
    which stays until this frame is acknowledged.

    At most `MAX_PARTS_AHEAD` parts wait for acknowledgement; a part is at most `MAX_PART_BYTES` plus one content.
    """

    seq: int
    id: str
    part: int
    file: str = ""
    data: bytes = b""
    blobs: list[BlobEntry] = []


class SnapshotDone(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot_done", omit_defaults=True):
    """Snapshot `id` is complete: `manifest` is the JSON text of a `sandboxes.manifest.Manifest`; or `error` says why
    there is none."""

    seq: int
    id: str
    manifest: Payload | None = None
    error: str = ""
    duration_ms: float = 0.0


class LiveDropped(msgspec.Struct, frozen=True, tag_field="type", tag="live_dropped"):
    """These parked copies are gone (the cap, memory, or code that killed them); durable snapshots are not affected."""

    seq: int
    ids: list[str]


class Need(msgspec.Struct, frozen=True, tag_field="type", tag="need"):
    """A restored REPL wants these contents (SHA-256 each), at most `MAX_NEEDED_BLOBS` a frame, and waits."""

    seq: int
    id: str
    blobs: list[str]


class Restored(msgspec.Struct, frozen=True, tag_field="type", tag="restored", omit_defaults=True):
    """Answer to `restore`. Without `error` the REPL is in the state of the manifest (its variables perhaps not loaded)."""

    seq: int
    id: str
    error: CellError | None = None
    variables: list[Variable] = []


class Evaluated(msgspec.Struct, frozen=True, tag_field="type", tag="evaluated", omit_defaults=True):
    """Result of `evaluate`. status: `ok`, `error`, `timeout`, `killed`, `no_snapshot` (none parked under that id)."""

    id: str
    status: Literal["ok", "error", "timeout", "killed", "no_snapshot", "unsupported"]
    value: Payload | None = None
    output: str = ""
    output_bytes: int = 0
    error: CellError | None = None
    duration_ms: float = 0.0


RunnerFrame = (
    Ready
    | SubCall
    | Output
    | Finished
    | State
    | SetupDone
    | RunnerError
    | SnapshotTaken
    | SnapshotPart
    | SnapshotDone
    | LiveDropped
    | Need
    | Restored
)

_decoder = msgspec.json.Decoder(RunnerFrame)
_encoder = msgspec.json.Encoder()


def decode_runner_frame(line: bytes) -> RunnerFrame:
    """Decode and validate one line from a runner. Raises `msgspec.DecodeError` or `msgspec.ValidationError`."""
    frame: RunnerFrame = _decoder.decode(line)
    return frame


def encode_host_frame(frame: HostFrame) -> bytes:
    return _encoder.encode(frame)
