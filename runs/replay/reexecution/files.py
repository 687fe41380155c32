"""The files of the workspace after a step that ran again, against those of the recorded snapshot."""

from __future__ import annotations

from runs.replay.reexecution.cells import Comparison
from runs.replay.reexecution.report import MAX_FINDINGS, Finding
from sandboxes.manifest import FileState, Manifest

NOT_THERE = "(not there)"
CACHE = "__pycache__"
"""Python's own: it holds when its source was written."""


def compare_files(recorded: Manifest, now: Manifest, found: Comparison) -> None:
    """Add what differs to `found`: contents, kinds and rights; times are never the same. What one side could not hold is
    not compared."""
    before, after = _files(recorded), _files(now)
    dropped = {each.name for manifest in (recorded, now) for each in manifest.dropped}
    for path in sorted({*before, *after} - dropped):
        was, is_now = before.get(path), after.get(path)
        if _content(was) != _content(is_now) and len(found.findings) < MAX_FINDINGS:
            found.findings.append(Finding("file", 0, path, _shown(was), _shown(is_now)))


def _files(manifest: Manifest) -> dict[str, FileState]:
    return {file.path: file for file in manifest.files if CACHE not in file.path.split("/")}


def _content(file: FileState | None) -> object:
    return None if file is None else (file.kind, file.mode, file.size_bytes, file.blobs, file.target)


def _shown(file: FileState | None) -> str:
    if file is None:
        return NOT_THERE
    if file.kind != "file":
        return f"{file.kind} {file.target}".rstrip()
    content = ", ".join(sha256[:12] for sha256 in file.blobs[:3])
    return f"file of {file.size_bytes:,} bytes, mode {file.mode:o}" + (f", content {content}" if content else "")
