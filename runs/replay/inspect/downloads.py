"""A variable of a step as a file: written in a scratch sandbox, fetched with a bound, handed out as an attachment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal, get_args

import msgspec
from django.conf import settings

from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.blobs import CHUNK_BYTES
from runs.replay.inspect.differences import answer_of
from runs.replay.inspect.errors import AnswerUnreadable, BadRequest, CannotExport
from runs.replay.inspect.evaluation import audit_look
from runs.replay.inspect.inside import program
from runs.replay.inspect.inside.export import _rlmweb_export
from runs.replay.inspect.slots import slots
from runs.replay.inspect.states import StepState
from runs.services.policy_facts import facts_of_session
from runs.services.snapshots.scratch import open_scratch

MAX_DOWNLOAD_BYTES = 200_000_000
TIMEOUT_S = 60.0
PATH = ".rlmweb-download"
NAME_CHARS = 60
Form = Literal["json", "csv", "npy", "parquet", "raw"]
FORMS: tuple[Form, ...] = get_args(Form)
_BINARY = "application/octet-stream"
_KINDS = {
    "json": ("json", "application/json"),
    "csv": ("csv", "text/csv; charset=utf-8"),
    "npy": ("npy", _BINARY),
    "parquet": ("parquet", _BINARY),
}


class _Said(msgspec.Struct, frozen=True):
    bytes: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """An open file without a name on the host: it is gone when it is closed."""

    file: IO[bytes]
    size_bytes: int
    filename: str
    content_type: str

    def chunks(self) -> Iterator[bytes]:
        with self.file:
            while chunk := self.file.read(CHUNK_BYTES):
                yield chunk


def download(state: StepState, name: str, form: str, *, actor: Actor, reason: str = "") -> Download:
    """Variable `name` in the format `form`. `reason`: why, where the policy of the organisation asks.

    Raises `InspectError`, `PolicyRefused` and `SnapshotError`, and `SandboxError` when no sandbox could be had.
    """
    row = state.row(name)
    if form not in FORMS:
        raise BadRequest(f"A variable is downloaded as {', '.join(FORMS)}, not as {form[:20]!r}.")
    require(Act.DOWNLOAD, facts_of_session(state.session, actor, reason=reason))
    assert state.snapshot is not None
    assert actor.user is not None
    code = program(_rlmweb_export, form, PATH, MAX_DOWNLOAD_BYTES, variable=name)
    folder = Path(settings.DATA_DIR) / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    with slots.taken(actor.user.pk), open_scratch(state.snapshot) as box, TemporaryDirectory(dir=folder) as temporary:
        said = _decoded(answer_of(box, code, 16 * 1024, TIMEOUT_S))
        if said.error:
            raise CannotExport(f"{name[:100]!r} cannot be downloaded as {form}: {said.error}")
        target = Path(temporary) / "variable"
        size_bytes = box.get_file(PATH, str(target), max_bytes=MAX_DOWNLOAD_BYTES)
        file = target.open("rb")
    details = {"name": name[:200], "form": form, "size_bytes": size_bytes}
    audit_look("variable.download", state, actor, details, reason=reason)
    ending, content_type = _KINDS.get(form) or _raw_kind(row.type)
    return Download(file, size_bytes, _filename(state, name, ending), content_type)


def _decoded(line: bytes) -> _Said:
    try:
        return msgspec.json.decode(line, type=_Said)
    except (msgspec.DecodeError, RecursionError) as error:
        raise AnswerUnreadable(f"The sandbox did not say how the writing went: {error}") from error


def _raw_kind(type_name: str) -> tuple[str, str]:
    return (
        ("bin", _BINARY) if type_name in ("bytes", "bytearray", "memoryview") else ("txt", "text/plain; charset=utf-8")
    )


def _filename(state: StepState, name: str, ending: str) -> str:
    """ASCII letters, digits, `_` and `-` of the name, and where it comes from: nothing that a file system could mistake."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:NAME_CHARS].strip("_-") or "variable"
    return f"{safe}-node{state.node.number}-step{state.step.number}.{ending}"
