"""Contexts: taken in as a stream of bytes, stored by content, looked at once on the way.

Nothing holds a whole context in memory: kinds are found while the bytes pass through.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings

from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from runs.access import Actor
from runs.blobs import CHUNK_BYTES, blob_store
from runs.models import Context
from runs.text import scrub

NAME_CHARS = 255
JSON_MAX_BYTES = 64 * 1024 * 1024
"""Longest text that is parsed to find out whether it is JSON; the REPL would have to hold it parsed."""
BINARY_SHARE = 0.05
"""A text may have this share of invalid bytes and still be a text; with more it is offered to the code as `bytes`."""


class ContextError(ValueError):
    """A context cannot be taken; the message says why and what to do."""


class _Watcher:
    """Passes chunks through and notes what they are."""

    def __init__(self, chunks: Iterable[bytes], max_bytes: int) -> None:
        self._chunks = chunks
        self._max_bytes = max_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.size_bytes = 0
        self.invalid = 0
        self.nul = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size_bytes += len(chunk)
            if self.size_bytes > self._max_bytes:
                raise ContextError(
                    f"The context is larger than the {self._max_bytes:,} bytes this installation takes"
                    " (RLMWEB_UPLOAD_MAX_BYTES)."
                )
            self._look(chunk, final=False)
            yield chunk
        self._look(b"", final=True)

    def _look(self, chunk: bytes, *, final: bool) -> None:
        if not final and chunk.isascii():
            self.nul += chunk.count(0)
            chunk_is_clean = self._decoder.getstate()[0] == b""
            if chunk_is_clean:
                return
        text = self._decoder.decode(chunk, final)
        # A replacement character may also stand in the text itself; then it is counted too much, which does no harm.
        self.invalid += text.count("\ufffd")
        self.nul += text.count("\x00") if not chunk.isascii() else 0

    @property
    def is_text(self) -> bool:
        return self.nul == 0 and self.invalid <= self.size_bytes * BINARY_SHARE


def context_from_text(text: str, *, actor: Actor, team: Team, name: str = "context.txt") -> Context:
    """Raises `ContextError`."""
    return context_from_chunks([scrub(text).encode()], actor=actor, team=team, name=name, source="paste")


def context_from_chunks(
    chunks: Iterable[bytes], *, actor: Actor, team: Team, name: str, source: str, kind: str = ""
) -> Context:
    """Store a stream of bytes. `kind` is the user's choice; empty means what it looks like. Raises `ContextError`."""
    watcher = _Watcher(chunks, settings.UPLOAD_MAX_BYTES)
    stored = blob_store().put_stream(watcher)
    if watcher.size_bytes == 0:
        raise ContextError("The context is empty. Give a text or a file that holds something.")
    found = kind or _kind_of(watcher, stored.sha256)
    note = ""
    if found != Context.Kind.BYTES and watcher.invalid:
        note = f"{watcher.invalid:,} invalid UTF-8 sequences are shown as U+FFFD."
    context = Context.objects.create(
        team=team,
        created_by=actor.user,
        name=scrub(name)[:NAME_CHARS] or "context",
        kind=found,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        source=source,
        note=note,
    )
    audit(
        "context.create",
        actor=actor.name,
        object_type="context",
        object_id=context.uuid,
        team_uuid=team.uuid,
        source=actor.source,
        details={"size_bytes": stored.size_bytes, "kind": found, "from": source},
    )
    return context


def context_from_path(path: str, *, actor: Actor, team: Team) -> Context:
    """Take a file of the server, from the folders that `RLMWEB_CONTEXT_PATHS` allows. Raises `ContextError`."""
    real = Path(path).resolve()
    if not any(real.is_relative_to(Path(folder).resolve()) for folder in settings.CONTEXT_PATHS):
        allowed = ", ".join(str(folder) for folder in settings.CONTEXT_PATHS) or "none (RLMWEB_CONTEXT_PATHS is empty)"
        raise ContextError(f"Files may be read from these folders only: {allowed}.")
    if not real.is_file():
        raise ContextError(f"{path} is not a file.")
    return context_from_chunks(_read(real), actor=actor, team=team, name=real.name, source="path")


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _kind_of(watcher: _Watcher, sha256: str) -> str:
    if not watcher.is_text:
        return Context.Kind.BYTES
    if watcher.size_bytes > JSON_MAX_BYTES or watcher.invalid:
        return Context.Kind.TEXT
    if blob_store().slice(sha256, 0, 64).lstrip()[:1] not in (b"{", b"["):
        return Context.Kind.TEXT
    try:
        json.loads(blob_store().get(sha256))
    except (ValueError, RecursionError):
        return Context.Kind.TEXT
    return Context.Kind.JSON
