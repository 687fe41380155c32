"""Files on their way into and out of archives, in the data folder: they can be as large as the disk allows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from django.conf import settings

LEFT_OVER_S = 24 * 3600
PREFIXES = ("export-", "import-")


def workplace() -> Path:
    """The folder; what was left behind a day ago by a process that was killed is removed."""
    folder = Path(settings.DATA_DIR) / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    oldest_s = time.time() - LEFT_OVER_S
    for path in folder.iterdir():
        try:
            old = path.name.startswith(PREFIXES) and path.stat().st_mtime < oldest_s
        except FileNotFoundError:
            continue  # another process was here
        if old and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif old:
            path.unlink(missing_ok=True)
    return folder


@contextmanager
def work_folder(purpose: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix=f"{purpose}-", dir=workplace()) as folder:
        yield Path(folder)


def waiting_file() -> Path:
    """Where an archive waits for its import."""
    return workplace() / f"import-{uuid4().hex}"
