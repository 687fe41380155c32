"""Contexts: taken in as a stream of bytes from wherever they come, stored by content, looked at once on the way.

Nothing here holds a whole context in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.db import transaction

from rlmweb.audit.record import record as audit
from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.teams.models import Team
from runs.access import Actor
from runs.blobs import CHUNK_BYTES, blob_store
from runs.examples import Built, ExampleError, example
from runs.models import Context
from runs.services.content_kind import JSON_MAX_BYTES, NotJson, Watcher, kind_of, note_on
from runs.services.downloads import DownloadError, download
from runs.services.quota_storage import count_context
from runs.text import scrub
from runs.uploads import upload_dir

NAME_CHARS = 255
PREVIEW_BYTES = 4 * 1024


class ContextError(ValueError):
    """A context cannot be taken; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a context as a person may see it. `more`: there is more of it than this."""

    text: str
    more: bool


def context_from_text(text: str, *, actor: Actor, team: Team, name: str = "pasted.txt", kind: str = "") -> Context:
    """Raises `ContextError`."""
    data = scrub(text).encode()
    return context_from_chunks([data], actor=actor, team=team, name=name, source="paste", kind=kind)


def context_from_chunks(
    chunks: Iterable[bytes], *, actor: Actor, team: Team, name: str, source: str, kind: str = ""
) -> Context:
    """Store a stream of bytes. `kind` is the user's choice; empty means what it looks like. Raises `ContextError`."""
    if kind and kind not in Context.Kind.values:
        raise ContextError(f"A context is {', '.join(Context.Kind.values)}, not {kind[:40]!r}.")
    watcher = Watcher(_bounded(chunks))
    stored = blob_store().put_stream(watcher)
    if watcher.size_bytes == 0:
        raise ContextError("The context is empty. Give a text or a file that holds something.")
    if kind == Context.Kind.JSON and watcher.size_bytes > JSON_MAX_BYTES:
        raise ContextError(
            f"JSON is taken up to {JSON_MAX_BYTES:,} bytes. Choose text: the code can parse it in parts."
        )
    try:
        found = kind_of(watcher, blob_store(), stored.sha256, kind)
    except NotJson as error:
        raise ContextError(f"This is not JSON: {error}. Choose another kind, or mend it.") from error
    with transaction.atomic():
        context = Context.objects.create(
            team=team,
            created_by=actor.user,
            name=_name(name),
            kind=found,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            source=source,
            note=note_on(watcher, found),
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
        try:
            count_context(context, actor)
        except QuotaExceeded as error:
            raise ContextError(str(error)) from error
    return context


def context_from_file(path: Path, *, actor: Actor, team: Team, name: str, source: str, kind: str = "") -> Context:
    """Store a file of our own, e.g. an upload that is complete. Raises `ContextError`."""
    return context_from_chunks(_read(path), actor=actor, team=team, name=name, source=source, kind=kind)


def context_from_path(path: str, *, actor: Actor, team: Team, kind: str = "") -> Context:
    """Take a file of the server, from the folders that `RLMWEB_CONTEXT_PATHS` allows. Raises `ContextError`.

    Symbolic links are followed first and the place they lead to is what counts. What is not allowed and what does not
    exist are told apart only within the allowed folders.
    """
    folders = [Path(folder).resolve() for folder in settings.CONTEXT_PATHS]
    try:
        real = Path(path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ContextError("This is not a path.") from error
    if not any(real.is_relative_to(folder) for folder in folders):
        allowed = ", ".join(map(str, folders)) or "none (RLMWEB_CONTEXT_PATHS is empty)"
        raise ContextError(f"Files may be read from these folders only: {allowed}.")
    if not real.is_file():
        raise ContextError(f"{path} is not a file.")
    try:
        return context_from_file(real, actor=actor, team=team, name=real.name, source="path", kind=kind)
    except OSError as error:
        raise ContextError(f"{path} cannot be read: {error.strerror}.") from error


def context_from_url(url: str, *, actor: Actor, team: Team, kind: str = "") -> Context:
    """Fetch from a host that `RLMWEB_CONTEXT_HOSTS` allows. Raises `ContextError`."""
    with TemporaryDirectory(prefix="download-", dir=upload_dir()) as folder:
        target = Path(folder) / "content"
        try:
            name = download(url, target, hosts=settings.CONTEXT_HOSTS, max_bytes=settings.UPLOAD_MAX_BYTES)
        except DownloadError as error:
            raise ContextError(str(error)) from error
        return context_from_file(target, actor=actor, team=team, name=name, source="url", kind=kind)


def context_from_example(
    slug: str,
    *,
    actor: Actor,
    team: Team,
    seed: int = 0,
    size_bytes: int | None = None,
    question_kind: str | None = None,
) -> tuple[Context, Built]:
    """Build an example task and store its context. The built task's file is gone. Raises `ContextError`."""
    with TemporaryDirectory(prefix="example-", dir=upload_dir()) as folder:
        path = Path(folder) / "context.txt"
        try:
            chosen = example(slug)
            built = chosen.build(path, seed=seed, size_bytes=size_bytes, question_kind=question_kind)
        except ExampleError as error:
            raise ContextError(str(error)) from error
        name = f"{slug}-{seed}.txt"
        context = context_from_file(path, actor=actor, team=team, name=name, source="example", kind=chosen.kind)
    return context, built


def preview_of(context: Context) -> Preview:
    """The first bytes, decoded for reading; of `bytes` a hexadecimal listing."""
    data = blob_store().slice(context.sha256, 0, PREVIEW_BYTES)
    more = context.size_bytes > len(data)
    if context.kind == Context.Kind.BYTES:
        return Preview(_hex_listing(data[: PREVIEW_BYTES // 8]), more)
    return Preview(scrub(data.decode("utf-8", "replace").rstrip("\ufffd")), more)


def _hex_listing(data: bytes) -> str:
    lines = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:08x}  {row.hex(' '):<47}  {shown}")
    return "\n".join(lines)


def _bounded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > settings.UPLOAD_MAX_BYTES:
            raise ContextError(
                f"The context is larger than the {settings.UPLOAD_MAX_BYTES:,} bytes that this installation takes "
                "(RLMWEB_UPLOAD_MAX_BYTES)."
            )
        yield chunk


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _name(name: str) -> str:
    """The last part of a name that may come from another system, without control characters."""
    last = scrub(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "".join(char for char in last if char.isprintable())[:NAME_CHARS] or "context"
