"""What the model process is doing, as a small file that the web app reads; and the endpoint file, which holds a key.

The process touches its status file while it lives: a file that nobody touched for a while tells of a process that died.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from runs.lm.embedded.known import DEFAULT, MODELS

State = Literal["absent", "downloading", "loading", "ready", "failed"]

STALE_S = 30.0


class StatusInfo(TypedDict):
    """`bytes` of `total` of the weights are here. `error` says what failed and `source` where the weights come from."""

    state: State
    bytes: int
    total: int
    label: str
    source: str
    error: str


@dataclass(frozen=True, slots=True)
class Places:
    """The files of the embedded model below the data folder."""

    data_dir: Path

    @property
    def folder(self) -> Path:
        return self.data_dir / "models"

    @property
    def status(self) -> Path:
        return self.folder / "status.json"

    @property
    def endpoint(self) -> Path:
        return self.folder / "endpoint.json"

    @property
    def retry(self) -> Path:
        return self.folder / "retry"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model answers, and the key that keeps other users of the machine out."""

    url: str
    key: str
    model: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the status file holds."""

    state: State
    model: str = DEFAULT.name
    bytes: int = 0
    total: int = 0
    source: str = ""
    error: str = ""


def write_report(places: Places, report: Report) -> None:
    write_private(places.status, asdict(report), mode=0o644)


def read_report(places: Places) -> Report | None:
    """None when there is no process that keeps the file fresh."""
    try:
        age_s = time.time() - places.status.stat().st_mtime
        report = Report(**json.loads(places.status.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    if age_s <= STALE_S:
        return report
    return replace(report, state="absent", error=report.error or "The model process is not running.")


def write_endpoint(places: Places, endpoint: Endpoint, path: Path | None = None) -> None:
    write_private(path or places.endpoint, asdict(endpoint))


def read_endpoint(path: Path) -> Endpoint | None:
    try:
        return Endpoint(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_private(path: Path, plain: dict[str, Any], *, mode: int = 0o600) -> None:
    """Replace the file at once: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w") as file:
        json.dump(plain, file)
    staging.rename(path)


def status(data_dir: Path | None = None) -> StatusInfo:
    """For pages. `data_dir` defaults to the settings."""
    report = read_report(_places(data_dir)) or Report("absent", error="The model process is not running.")
    model = MODELS.get(report.model, DEFAULT)
    return StatusInfo(
        state=report.state,
        bytes=report.bytes,
        total=report.total or model.size_bytes,
        label=model.label,
        source=report.source,
        error=report.error,
    )


def request_retry(data_dir: Path | None = None) -> None:
    """Ask the process to try again now instead of after its pause."""
    places = _places(data_dir)
    places.folder.mkdir(parents=True, exist_ok=True)
    places.retry.touch()


def _places(data_dir: Path | None) -> Places:
    if data_dir is None:
        from django.conf import settings

        data_dir = Path(settings.DATA_DIR)
    return Places(data_dir)
