"""Where the repository and its environment lie."""

from __future__ import annotations

import os
from pathlib import Path

ROOT_DIR = Path(__file__).resolve().parent.parent.parent
VENV_DIR = ROOT_DIR / ".venv"
VENV_PYTHON = VENV_DIR / "bin" / "python"
LOCK_FILE = Path(__file__).resolve().parent / "requirements.lock"


def data_dir() -> Path:
    """The folder of everything that an installation keeps (RLMWEB_DATA_DIR, by default .data in the
    repository).
    """
    return Path(os.environ.get("RLMWEB_DATA_DIR") or ROOT_DIR / ".data").expanduser().resolve()
