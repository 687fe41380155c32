"""One installation: its data folder, the environment of its processes, and what a running one tells other
commands.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rlmweb.boot import keys
from rlmweb.boot.embedded import private_dir, socket_dir
from rlmweb.boot.environment import clean_environment
from rlmweb.boot.filelock import FileLock
from rlmweb.boot.paths import LOCK_FILE, ROOT_DIR

ROOMS = ("rlmweb", "runs", "sandboxes")
# What only the web and worker processes may know.
PRIVATE_VARIABLES = ("DATABASE_URL", "REDIS_URL", "RLMWEB_SECRET_KEY", "RLMWEB_KEYS", "RLMWEB_OPEN_TOKEN")


class AlreadyRunning(RuntimeError):
    """Another command runs services on the same data folder; the message says which, and where it answers."""


@dataclass
class Installation:
    data_dir: Path
    lock: FileLock = field(init=False)
    run_dir: Path = field(init=False)
    log_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir = private_dir(self.data_dir / "run")
        self.log_dir = private_dir(self.data_dir / "logs")
        self.lock = FileLock(self.run_dir / "up.lock")

    def claim(self, what: str) -> None:
        """Be the only one that runs services on this data folder until this process ends. `what` is for the others."""
        if not self.lock.try_acquire():
            holder = self.lock.read().strip() or "just starting"
            raise AlreadyRunning(f"{self.data_dir} is in use already ({holder}).")
        self.lock.write(f"process {os.getpid()}, {what}")

    def environment(self, outer: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of the web and worker processes. What `outer` (the user's own environment) has set wins."""
        defaults = {
            "DJANGO_SETTINGS_MODULE": "rlmweb.settings.dev",
            "RLMWEB_DATA_DIR": str(self.data_dir),
            "RLMWEB_SECRET_KEY": keys.secret_key(self.data_dir),
            "RLMWEB_KEYS": keys.fernet_key(self.data_dir),
            "RLMWEB_SINGLE_USER": "true",
            "RLMWEB_OPEN_TOKEN": keys.open_token(),
            "RLMWEB_LOCAL_SANDBOX_SOCKET": str(socket_dir(self.data_dir) / "sandboxes.sock"),
            "PYTHONUNBUFFERED": "1",
            # glibc gives every thread an arena of its own otherwise, and a worker has many threads.
            "MALLOC_ARENA_MAX": "2",
            # Its checks would load every page, form and API into the worker; the same checks run at each migration.
            "CELERY_SKIP_CHECKS": "1",
            # Celery warns about root on every start; whoever runs `up` as root has read ours.
            "C_FORCE_ROOT": "1",
        }
        return defaults | (clean_environment() if outer is None else dict(outer))

    # What a running `up` publishes, so that `manage.py shell` and the like reach the same services without
    # variables.

    @property
    def _published(self) -> Path:
        return self.run_dir / "environment.json"

    def publish(self, environment: dict[str, str], address: str) -> None:
        names = (*PRIVATE_VARIABLES, "RLMWEB_SINGLE_USER", "RLMWEB_LOCAL_SANDBOX_SOCKET")
        shared = {name: environment[name] for name in names if name in environment}
        staging = self._published.with_suffix(f".{os.getpid()}")
        fd = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump({"address": address, "environment": shared}, file, indent=1)
        staging.rename(self._published)
        self.lock.write(f"process {os.getpid()}, {address}")

    def withdraw(self) -> None:
        self._published.unlink(missing_ok=True)

    def published_environment(self) -> dict[str, str] | None:
        """The variables of the `up` that runs on this data folder now, or None."""
        if self.lock.try_acquire():
            self.lock.release()
            return None
        if not self._published.exists():
            return None
        found: dict[str, str] = json.loads(self._published.read_text())["environment"]
        return found

    # Migrations

    @property
    def _migrated(self) -> Path:
        return self.data_dir / "migrated"

    def needs_migration(self, database_url: str) -> bool:
        return not self._migrated.exists() or self._migrated.read_text() != migration_stamp(database_url)

    def mark_migrated(self, database_url: str) -> None:
        self._migrated.write_text(migration_stamp(database_url))


def migration_stamp(database_url: str) -> str:
    """Changes with the database, with our migrations and with the locked packages (some bring migrations)."""
    files = [path for room in ROOMS for path in sorted((ROOT_DIR / room).glob("**/migrations/*.py"))]
    parts = [database_url.encode(), LOCK_FILE.read_bytes(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def without_private(environment: dict[str, str]) -> dict[str, str]:
    """For processes that run no code of the application and so need none of its secrets."""
    return {name: value for name, value in environment.items() if name not in PRIVATE_VARIABLES}
