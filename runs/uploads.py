"""Uploads in parts, so that a gigabyte needs neither a gigabyte of memory nor an unbroken connection.

The web server hands a request to Django only when its body is complete, and keeps it in memory on the way. So a browser
sends a file as parts of `PART_BYTES`, each its own request, and says where each belongs; a part that was sent twice or
out of order is answered with where to go on. What has arrived is a file in `UPLOAD_DIR`: its length is the position.

An upload is named by a signed ticket that holds what it is for. Nothing about it is in the database, so one that is
never finished leaves a file that `sweep` removes and nothing else.
"""

from __future__ import annotations

import fcntl
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import msgspec
from django.conf import settings
from django.core import signing

PART_BYTES = 4 * 1024 * 1024
"""Largest part. Three copies of a part may be in memory at a time: the server's, the request's and ours."""
READ_BYTES = 256 * 1024
MAX_OPEN_PER_USER = 8
ABANDONED_AFTER_S = 24 * 3600
SALT = "runs.uploads"

logger = logging.getLogger(__name__)


class UploadError(ValueError):
    """An upload cannot go on; the message says why and what to do."""


class WrongOffset(UploadError):
    """The part does not begin where the upload stands."""

    def __init__(self, received_bytes: int) -> None:
        super().__init__(f"The upload stands at byte {received_bytes}: send the part that begins there.")
        self.received_bytes = received_bytes


class Body(Protocol):
    """What a request is to its reader."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload in progress. `user` is the primary key of whoever began it."""

    id: str
    user: int
    team: int
    name: str
    kind: str
    size_bytes: int

    @property
    def ticket(self) -> str:
        return signing.dumps(msgspec.to_builtins(self), salt=SALT, compress=True)

    @property
    def path(self) -> Path:
        return upload_dir() / f"{self.user}-{self.id}.part"

    @property
    def received_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def complete(self) -> bool:
        return self.received_bytes == self.size_bytes


def begin(*, user: int, team: int, name: str, kind: str, size_bytes: int) -> Upload:
    """Raises `UploadError` for a size that is not taken, or when the user has too many uploads open."""
    if size_bytes <= 0:
        raise UploadError("The file is empty. Choose one that holds something.")
    if size_bytes > settings.UPLOAD_MAX_BYTES:
        raise UploadError(
            f"The file has {size_bytes:,} bytes; this installation takes up to {settings.UPLOAD_MAX_BYTES:,} "
            "(RLMWEB_UPLOAD_MAX_BYTES)."
        )
    sweep()
    if len(list(upload_dir().glob(f"{user}-*.part"))) >= MAX_OPEN_PER_USER:
        raise UploadError(f"You have {MAX_OPEN_PER_USER} unfinished uploads. Finish or cancel one first.")
    upload = Upload(uuid.uuid4().hex, user, team, name[:255], kind, size_bytes)
    upload.path.touch(mode=0o600)
    return upload


def find(ticket: str, *, user: int) -> Upload:
    """The upload of a ticket. Raises `UploadError` when the ticket is not one of this user's, or is too old."""
    try:
        plain = signing.loads(ticket, salt=SALT, max_age=ABANDONED_AFTER_S)
        upload = msgspec.convert(plain, Upload)
    except (signing.BadSignature, msgspec.ValidationError) as error:
        raise UploadError("This upload is not known or too old. Begin it again.") from error
    if upload.user != user or not upload.path.exists():
        raise UploadError("This upload is not known or too old. Begin it again.")
    return upload


def take_part(upload: Upload, offset: int, body: Body) -> int:
    """Append a part and return the new position. Raises `WrongOffset`, or `UploadError` when it is too long."""
    with _locked(upload) as file:
        position = file.seek(0, 2)
        if offset != position:
            raise WrongOffset(position)
        most_bytes = min(PART_BYTES, upload.size_bytes - position)
        try:
            for chunk in _chunks(body, most_bytes):
                file.write(chunk)
        except BaseException:
            # Half a part would leave the browser's idea of the position and ours apart.
            file.truncate(position)
            raise
        return file.tell()


def cancel(upload: Upload) -> None:
    upload.path.unlink(missing_ok=True)


def sweep() -> None:
    """Remove what was begun and never finished."""
    oldest_s = time.time() - ABANDONED_AFTER_S
    for path in upload_dir().glob("*.part"):
        try:
            if path.stat().st_mtime < oldest_s:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            logger.debug("another process removed an abandoned upload first")


def upload_dir() -> Path:
    folder = Path(settings.UPLOAD_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _chunks(body: Body, most_bytes: int) -> Iterator[bytes]:
    left = most_bytes
    while chunk := body.read(READ_BYTES):
        left -= len(chunk)
        if left < 0:
            raise UploadError(f"The part is longer than the {most_bytes:,} bytes that may come here.")
        yield chunk


@contextmanager
def _locked(upload: Upload) -> Iterator[IO[bytes]]:
    """The file, while no other request writes to it: a browser that tries again may overtake its first try."""
    with upload.path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
