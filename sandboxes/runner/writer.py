"""In the sandbox: write one snapshot down. A process of its own, forked from the parked copy, runs this and ends.

Pickling runs code of the session. Whatever that does, it does it here: the supervisor has a deadline for each variable,
kills what passes it, and starts the work again without the variable that was at fault.
"""

from __future__ import annotations

import marshal
import os

from sandboxes.runner.capture import Capture
from sandboxes.runner.guard import CannotGuard, forbid_processes
from sandboxes.runner.namespace import _describe
from sandboxes.runner.protect import die_with_parent
from sandboxes.runner.queries import Control
from sandboxes.runner.wire import INLINE_PART_BYTES, clean, clip, to_json
from sandboxes.runner.workspace import write_down

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.repl import Repl
    from sandboxes.runner.workspace import Listing

PART_BYTES = 8 * 1024 * 1024
PART_CONTENTS = 8_000
"""So many hashes and sizes fit in a line of the protocol."""
PARTS_AHEAD = 4
SPARE_MEMORY_BYTES = 256 * 1024 * 1024
SHA256_BYTES = 32


class CannotHandOver(Exception):
    """There is no room for a part."""


class Parts:
    """New contents on their way to the host: collected, written to files below `.rlm/out/`, never too many at once."""

    def __init__(self, control: Control, workspace: str, prefix: str, known: int, ahead: int) -> None:
        """`known` is a descriptor of hashes, one behind the other, that the host has. `ahead` parts of an earlier try
        are still with it."""
        self._control = control
        self._workspace = workspace
        self._prefix = prefix
        self._ahead = ahead
        self._count = 0
        self._contents: list[bytes] = []
        self._blobs: list[list[Any]] = []
        self._size = 0
        data = _read_all(known)
        self._known = {data[start : start + SHA256_BYTES] for start in range(0, len(data), SHA256_BYTES)}

    def add(self, sha256: str, data: bytes) -> None:
        digest = bytes.fromhex(sha256)
        if digest in self._known:
            return
        self._known.add(digest)
        self._contents.append(bytes(data))
        self._blobs.append([sha256, len(data)])
        self._size += len(data)
        if self._size >= PART_BYTES or len(self._blobs) >= PART_CONTENTS:
            self.flush()

    def flush(self) -> None:
        if not self._blobs:
            return
        while self._ahead >= PARTS_AHEAD:
            self._control.send({"t": "waiting"})
            self._ahead -= int(self._control.next_message()["acked"])
        self._count += 1
        if self._size <= INLINE_PART_BYTES:
            from binascii import b2a_base64

            data = b2a_base64(b"".join(self._contents), newline=False).decode()
            self._control.send({"t": "part", "data": data, "blobs": self._blobs})
        else:
            self._control.send({"t": "part", "file": self._write_file(), "blobs": self._blobs})
        self._ahead += 1
        self._contents, self._blobs, self._size = [], [], 0

    def _write_file(self) -> str:
        path = f".rlm/out/{self._prefix}-{self._count}.bin"
        full = os.path.join(self._workspace, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        try:
            descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                for data in self._contents:
                    _write_all(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CannotHandOver(f"no room in the workspace for its contents: {error.strerror}") from error
        return path


def write(repl: Repl, request: dict[str, Any], descriptors: list[int], listing: Listing, folder: str) -> None:
    """The main program of the process; never returns. `descriptors`: the line, hashes the host has, a place for the
    result, and the result of the snapshot before (when there is one)."""
    line, known, result, *before = descriptors
    control = Control(line)
    try:
        die_with_parent()
        control.send({"t": "hello"})
        _limit_memory()
        _step_back()
        try:
            forbid_processes()
        except CannotGuard:
            pass  # what it does is then what any cell of this session could do
        base = _load_base(before[0], int(request["base_at"])) if before else None
        parts = Parts(control, repl.options.workspace, str(request["prefix"]), known, int(request["ahead"]))
        manifest, following = _capture(repl, request, base, listing, parts, control)
        parts.flush()
        text, kept = to_json(manifest).encode(), marshal.dumps(following)
        _write_all(result, text + kept)
        control.send({"t": "done", "manifest_bytes": len(text), "base_bytes": len(kept)})
    except CannotHandOver as error:
        control.send({"t": "failed", "error": clip(str(error), 500)})
    except BaseException as error:
        control.send({"t": "raised", "error": clip(clean(type(error).__name__), 100)})
    finally:
        os._exit(0)


def _capture(
    repl: Repl, request: dict[str, Any], base: Any, listing: Listing, parts: Parts, control: Control
) -> tuple[dict[str, Any], Any]:
    def progress(name: str) -> None:
        control.send({"t": "at", "name": clip(clean(name), 200)})

    tracker = repl.tracker
    exclude = {}
    for name, (since, reason) in request["exclude"].items():
        touched = tracker.since(since)
        if since == request["id"] or (touched is not None and name not in touched):
            exclude[name] = reason
    touched = tracker.since(request["base"]) if base is not None else None
    files, marks = write_down(listing, base["files"] if base else {}, parts.add)
    before = base["values"] if base else repl.lazy.base
    values, unloaded = repl.names.values, repl.names.unloaded
    capture = Capture(values, tracker, repl.surroundings, repl.loaders, repl.leaves, parts.add, progress, _describe)
    manifest, following = capture.run(touched, before, str(request.get("base") or ""), unloaded, exclude)
    manifest["files"] = files
    manifest["dropped"] = [*manifest.get("dropped", []), *listing.dropped]
    return manifest, {"values": following, "files": marks}


def _load_base(result: int, start: int) -> Any:
    """What the writer before this one left behind its manifest; that ran with no more rights than this one."""
    return marshal.loads(_read_all(result)[start:])  # noqa: S302  # nosec B302  # in the sandbox


def _limit_memory() -> None:
    """Room to pickle in, beyond what the session itself holds."""
    import resource

    try:
        with open("/proc/self/statm", "rb") as stream:
            held = int(stream.read().split()[5]) * resource.getpagesize()
    except OSError:
        return  # no /proc: the limit of the REPL holds
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = held + SPARE_MEMORY_BYTES + held // 2
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _step_back() -> None:
    """Leave the processor to the session's own code, which runs meanwhile."""
    try:
        os.nice(10)
    except OSError:
        pass  # a sandbox on the host's process space refuses it


def _read_all(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
