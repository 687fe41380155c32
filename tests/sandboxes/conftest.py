from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandboxes import aio
from sandboxes.contract import Spec
from sandboxes.providers.local import LocalProvider
from tests.sandboxes.service import Linked, Service, service

TIERS = ("bubblewrap", "landlock")


@pytest.fixture(scope="session")
def local_service() -> Iterator[Service]:
    """One service for all tests that leave it as they found it."""
    with service("--pool", "1") as started:
        yield started


@pytest.fixture
def provider(local_service: Service) -> LocalProvider:
    return local_service.provider


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest, provider: LocalProvider) -> str:
    """Each tier that can work here; one that cannot is skipped with the self-test's reason."""
    reason = aio.run(provider.tiers())[request.param]
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


@pytest.fixture
def open_sandbox(provider: LocalProvider) -> Iterator[Callable[..., Linked]]:
    """Makes sandboxes with their runners; they are ended with the test."""
    opened: list[Linked] = []

    def make(**fields: Any) -> Linked:
        linked = Linked(provider, Spec(**fields))
        opened.append(linked)
        return linked

    yield make
    for linked in opened:
        linked.close()
