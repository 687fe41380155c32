"""One whole installation for all acceptance tests, looked at through its API and its database as from outside."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from rlmweb.boot.stack import Stack
from tests.acceptance.visitor import Visitor
from tests.runs.lm.faulty_server import FaultyServer, faulty_server


@pytest.fixture(scope="session")
def endpoint() -> Iterator[FaultyServer]:
    """A model endpoint that misbehaves as its path says."""
    with faulty_server() as server:
        yield server


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port of this machine where nobody listens, held so that nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, endpoint: FaultyServer, closed_port: int) -> Iterator[Stack]:
    hosts = ",".join(f"127.0.0.1:{port}" for port in (endpoint.port, closed_port))
    folder = tmp_path_factory.mktemp("stack") / "installation"
    with Stack(folder, threads=4, extra_environment={"RLMWEB_MODEL_HOSTS": hosts}) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Visitor:
    return Visitor.of(stack)
