from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.runs.lm.faulty_server import FaultyServer, faulty_server


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with faulty_server() as running:
        yield running
