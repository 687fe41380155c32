"""Secrets that an installation makes for itself once and keeps in its data folder, readable by its owner
alone.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path


def kept(path: Path, make: str) -> str:
    """The secret in `path`; `make` is written there first when there is none yet."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(fd, "w") as file:
        file.write(make + "\n")
    return make


def secret_key(data_dir: Path) -> str:
    return kept(data_dir / "keys" / "secret_key", secrets.token_urlsafe(48))


def fernet_key(data_dir: Path) -> str:
    """The key that encrypts stored credentials: whoever loses it has to enter those again."""
    return kept(data_dir / "keys" / "fernet_key", base64.urlsafe_b64encode(os.urandom(32)).decode())


def open_token() -> str:
    """What the address printed by `up` carries, so that no other account of this machine can walk in. New
    at each start.
    """
    return secrets.token_urlsafe(24)
