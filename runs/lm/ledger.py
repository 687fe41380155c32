"""An outside count of scripted calls, for tests that kill workers: the app's own counters cannot vouch for themselves.

One line a call, `<call id> <attempt> <kind> <key>`, appended by a single `write` to a file opened with O_APPEND, which
the kernel makes whole and ordered however many processes write.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

from runs.lm.errors import LmBadRequest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Ledger:
    """Appends to one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def named(cls, name: str, folder: Path | None) -> Ledger:
        """The ledger `name` in `folder`. Scripts come from users, so they name a file and never a path."""
        if folder is None:
            raise LmBadRequest(
                "The script asks for a ledger, and this installation keeps none (RLMWEB_SCRIPT_LEDGER_DIR)."
            )
        if not _NAME.fullmatch(name):
            raise LmBadRequest(f"{name!r} is not a plain file name.")
        return cls(folder / name)

    def note(self, key: str, kind: str, attempt: int) -> None:
        line = f"{uuid.uuid4().hex} {attempt} {kind} {key!r}\n".encode()
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)
