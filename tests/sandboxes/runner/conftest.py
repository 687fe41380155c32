from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandboxes.runner.host import RunnerHost, runner


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RunnerHost]:
    with runner(tmp_path) as started:
        yield started
