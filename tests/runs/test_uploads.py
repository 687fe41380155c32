"""Uploads in parts: resumed, refused, swept."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from runs import uploads
from runs.uploads import Upload, UploadError, WrongOffset


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.UPLOAD_DIR = tmp_path
    return tmp_path


def begin(size_bytes: int = 10, user: int = 1) -> Upload:
    return uploads.begin(user=user, team=1, name="file", kind="", size_bytes=size_bytes)


def test_parts_make_a_file() -> None:
    upload = uploads.find(begin().ticket, user=1)
    assert uploads.take_part(upload, 0, io.BytesIO(b"01234")) == 5
    assert [upload.complete, uploads.take_part(upload, 5, io.BytesIO(b"56789")), upload.complete] == [False, 10, True]
    assert upload.path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("offset", [0, 4, 6, 10**12])
def test_a_part_that_comes_twice_or_too_early_is_told_where_to_go_on(offset: int) -> None:
    upload = begin()
    uploads.take_part(upload, 0, io.BytesIO(b"01234"))
    with pytest.raises(WrongOffset) as caught:
        uploads.take_part(upload, offset, io.BytesIO(b"x"))
    assert caught.value.received_bytes == 5
    assert upload.path.read_bytes() == b"01234"


def test_a_part_that_is_too_long_leaves_nothing_behind() -> None:
    upload = begin(size_bytes=3)
    with pytest.raises(UploadError, match="longer"):
        uploads.take_part(upload, 0, io.BytesIO(b"0123"))
    assert upload.received_bytes == 0


def test_a_part_that_breaks_off_leaves_nothing_behind() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ConnectionResetError
            return super().read(2)

    upload = begin()
    with pytest.raises(ConnectionResetError):
        uploads.take_part(upload, 0, Broken(b"0123"))
    assert upload.received_bytes == 0


@pytest.mark.parametrize("size", [0, -1, 2**40])
def test_sizes_that_are_not_taken_are_refused_at_the_beginning(size: int, folder: Path) -> None:
    with pytest.raises(UploadError):
        begin(size_bytes=size)
    assert list(folder.iterdir()) == []


def test_a_ticket_is_worth_nothing_to_others() -> None:
    ticket = begin(user=1).ticket
    for forged in ("", "x", ticket[:-1] + ("A" if ticket[-1] != "A" else "B")):
        with pytest.raises(UploadError):
            uploads.find(forged, user=1)
    with pytest.raises(UploadError):
        uploads.find(ticket, user=2)


def test_a_cancelled_upload_is_gone() -> None:
    upload = begin()
    uploads.cancel(upload)
    uploads.cancel(upload)
    with pytest.raises(UploadError):
        uploads.find(upload.ticket, user=1)


def test_nobody_opens_uploads_without_end() -> None:
    for _ in range(uploads.MAX_OPEN_PER_USER):
        begin()
    with pytest.raises(UploadError, match="unfinished"):
        begin()
    assert begin(user=2)


def test_abandoned_uploads_are_swept_away() -> None:
    old, new = begin(), begin()
    os.utime(old.path, (0, 0))
    uploads.sweep()
    assert not old.path.exists()
    assert new.path.exists()
