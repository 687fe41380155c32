"""One whole installation for all acceptance tests, looked at through its API and its database as from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlmweb.bench.suites.steps import Client
from rlmweb.boot.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack") / "installation", threads=4) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Client:
    return Client(stack.address, stack.token, stack.database_url)
