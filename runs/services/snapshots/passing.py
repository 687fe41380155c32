"""Files on their way between a sandbox and the blob store."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from django.conf import settings

LEFT_OVER_S = 3600.0


@contextmanager
def passing_file() -> Iterator[Path]:
    """An empty file that goes with the `with` block."""
    handle, path = tempfile.mkstemp(prefix="content-", dir=_folder(Path(settings.DATA_DIR)))
    os.close(handle)
    try:
        yield Path(path)
    finally:
        os.unlink(path)


@cache
def _folder(data_dir: Path) -> Path:
    """Once for each process: what others left behind that died is removed."""
    folder = data_dir / "passing"
    folder.mkdir(parents=True, exist_ok=True)
    oldest_s = time.time() - LEFT_OVER_S
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < oldest_s:
                path.unlink()
        except FileNotFoundError:
            continue  # another process was here
    return folder
