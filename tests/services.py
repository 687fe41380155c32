"""Starts PostgreSQL, Valkey and the sandbox service before pytest-django reads the settings (a conftest is too late).

Loaded by `-p tests.services`. DATABASE_URL and REDIS_URL of the environment win: the tests run on other servers, too.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from rlmweb.boot.children import Child
from rlmweb.boot.embedded import postgres_child, socket_dir, valkey_child

START_TIMEOUT_S = 60

_started: list[Child] = []
_folder: Path | None = None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    if not early_config.known_args_namespace.help and not early_config.known_args_namespace.version:
        start_missing_services()
    return (yield)


def pytest_unconfigure() -> None:
    for child in reversed(_started):
        child.stop()
    _started.clear()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


def start_missing_services() -> None:
    global _folder
    _folder = Path(tempfile.mkdtemp(prefix="rlmweb-tests-"))
    os.environ["RLMWEB_DATA_DIR"] = str(_folder / "data")
    if "REDIS_URL" not in os.environ:
        child, os.environ["REDIS_URL"] = valkey_child(_folder)
        _start(child)
    if "DATABASE_URL" not in os.environ:
        child, os.environ["DATABASE_URL"] = postgres_child(_folder, throwaway=True)
        _start(child)
    if "RLMWEB_LOCAL_SANDBOX_SOCKET" not in os.environ:
        path = socket_dir(_folder) / "sandboxes.sock"
        os.environ["RLMWEB_LOCAL_SANDBOX_SOCKET"] = str(path)
        command = [sys.executable, "-m", "sandboxes.local.service", "--socket", str(path)]
        _start(Child("sandboxes", command, _folder / "sandboxes.log", is_ready=path.exists))


def _start(child: Child) -> None:
    child.start()
    _started.append(child)
    child.wait_ready(START_TIMEOUT_S)
