"""What a stream of bytes is: text, JSON or something else. Found while the bytes pass by, in constant memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator

from runs.blobs import BlobStore
from runs.models import Context

JSON_MAX_BYTES = 64 * 1024 * 1024
"""Longest text that is parsed to find out whether it is JSON: the REPL would have to hold it parsed."""
BINARY_SHARE = 0.05
"""A text may have this share of invalid sequences and still be a text; with more it is offered to the code as `bytes`."""


class NotJson(ValueError):
    """The content was said to be JSON and is not; the message says where it ends to be."""


class Watcher:
    """Passes chunks through and notes what they are."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._replacing = codecs.getincrementaldecoder("utf-8")("replace")
        self._valid_so_far = True
        self.size_bytes = 0
        self.invalid = 0
        """Invalid UTF-8 sequences, once the stream is over."""
        self.nul = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size_bytes += len(chunk)
            self.nul += chunk.count(0)
            self._look(chunk, final=False)
            yield chunk
        self._look(b"", final=True)

    def _look(self, chunk: bytes, *, final: bool) -> None:
        if self._valid_so_far:
            state = self._decoder.getstate()
            try:
                self._decoder.decode(chunk, final)
            except UnicodeDecodeError:
                # From here on sequences are counted, beginning with the one that the last chunk had cut.
                self._valid_so_far = False
                self._replacing.setstate(state)
            else:
                return
        text = self._replacing.decode(chunk, final)
        # U+FFFD may also stand in the text itself: then it is counted too much, which only makes the note less exact.
        self.invalid += text.count("\ufffd")

    @property
    def is_text(self) -> bool:
        return self.nul == 0 and self.invalid <= self.size_bytes * BINARY_SHARE


def kind_of(watcher: Watcher, store: BlobStore, sha256: str, wanted: str = "") -> str:
    """The kind of a stored content that has passed `watcher`. `wanted` is the user's choice; empty: what it looks like.

    Raises `NotJson` when JSON was wanted and the content cannot be parsed.
    """
    if wanted == Context.Kind.JSON:
        error = _json_error(store, sha256)
        if error:
            raise NotJson(error)
    if wanted:
        return wanted
    if not watcher.is_text:
        return Context.Kind.BYTES
    if watcher.invalid or watcher.size_bytes > JSON_MAX_BYTES:
        return Context.Kind.TEXT
    opening = store.slice(sha256, 0, 64).lstrip()[:1]
    looks_like_json = opening in (b"{", b"[") and not _json_error(store, sha256)
    return Context.Kind.JSON if looks_like_json else Context.Kind.TEXT


def note_on(watcher: Watcher, kind: str) -> str:
    """One sentence about what a reader should know; empty when there is nothing."""
    if kind != Context.Kind.BYTES and watcher.invalid:
        return f"{watcher.invalid:,} invalid UTF-8 sequences are shown to the code as U+FFFD."
    if kind != Context.Kind.BYTES and watcher.nul:
        return f"It holds {watcher.nul:,} NUL characters."
    if kind == Context.Kind.BYTES and watcher.is_text:
        return "It is valid text, and the code sees bytes as you chose."
    if kind == Context.Kind.BYTES:
        return "It is not UTF-8 text, so the code sees a bytes object."
    return ""


def _json_error(store: BlobStore, sha256: str) -> str:
    """Why the content is not JSON; empty when it is."""
    try:
        json.loads(store.get(sha256))
    except (ValueError, RecursionError) as error:
        return str(error) or type(error).__name__
    return ""
