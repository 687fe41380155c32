"""Fixtures for every room. The data services are started earlier, by tests/services.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rlmweb.boot import chromium
from rlmweb.boot.paths import VENV_DIR
from tests.installations import RunningUp


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser of the tests. `manage.py test` has looked for it already; a bare pytest looks now."""
    return os.environ.get("RLMWEB_CHROMIUM") or chromium.ensure(VENV_DIR / "tools", print)


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """`manage.py up --no-model` on a free port and a fresh data folder; whatever it leaves behind is killed."""
    running = RunningUp(tmp_path_factory.mktemp("up"))
    running.start()
    try:
        yield running
    finally:
        running.kill_everything()
