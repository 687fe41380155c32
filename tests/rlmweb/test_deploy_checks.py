"""`manage.py check --deploy` in production settings says nothing."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from cryptography.fernet import Fernet

from rlmweb.boot.paths import ROOT_DIR


def check(tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the settings of a process cannot be changed. It connects to nothing."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "rlmweb.settings.prod",
        "DATABASE_URL": os.environ["DATABASE_URL"],
        "REDIS_URL": os.environ["REDIS_URL"],
        "RLMWEB_SECRET_KEY": secrets.token_urlsafe(50),
        "RLMWEB_KEYS": Fernet.generate_key().decode(),
        "RLMWEB_ALLOWED_HOSTS": "rlmweb.example.org",
        "RLMWEB_DATA_DIR": str(tmp_path / "data"),
        **more,
    }
    command = [sys.executable, "-m", "django", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT_DIR, env=environment, capture_output=True, text=True, timeout=120)


def test_production_settings_pass_the_deployment_checks(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues (0 silenced)" in done.stdout


def test_the_checks_see_what_is_wrong(tmp_path: Path) -> None:
    done = check(tmp_path, RLMWEB_HTTPS="false")
    assert done.returncode == 1
    assert "security.W012" in done.stderr  # cookies without TLS
