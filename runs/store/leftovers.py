"""Files beside the store that nobody needs: copies of contexts for sandboxes to load, and uploads never finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from runs.models import Node, Session
from runs.services.boxsetup import context_copies
from runs.store.report import Amount
from runs.uploads import ABANDONED_AFTER_S, upload_dir


def remove_context_copies(before: datetime, *, dry_run: bool) -> Amount:
    """Copies not handed out since `before`, unless a running session works on them. One that is gone is made again."""
    running = Session.objects.filter(status=Session.Status.RUNNING)
    in_use = set(running.values_list("context__sha256", flat=True))
    in_use |= set(Node.objects.filter(session__in=running).values_list("prompt_sha256", flat=True))
    folder = context_copies()
    # A copy in the making has a suffix; one that is that old lost its process.
    return _remove((path for path in _files(folder) if path.name not in in_use), before.timestamp(), dry_run)


def remove_uploads(*, dry_run: bool) -> Amount:
    """Uploads that nobody may go on with: their tickets are too old."""
    return _remove(upload_dir().glob("*.part"), time.time() - ABANDONED_AFTER_S, dry_run)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else iter(())


def _remove(paths: Iterator[Path], before_s: float, dry_run: bool) -> Amount:
    amount = Amount()
    for path in paths:
        try:
            found = path.stat()
            if found.st_mtime >= before_s:
                continue
            if not dry_run:
                path.unlink()
        except FileNotFoundError:
            continue  # somebody else was faster
        amount.add(found.st_size)
    return amount
