from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rlmweb.boot.installations import RunningUp


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """`manage.py up --no-model` on a free port and a fresh data folder; whatever it leaves behind is killed."""
    running = RunningUp(tmp_path_factory.mktemp("up"))
    running.start()
    try:
        yield running
    finally:
        running.kill_everything()
