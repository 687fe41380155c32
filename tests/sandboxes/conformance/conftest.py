"""The conformance suite: the same cases over every provider. A case is skipped through a declared capability only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandboxes import aio
from sandboxes.contract import Sandbox
from tests.sandboxes.conformance.kit import Host, create, host_of, key
from tests.wire.rig import Rig, available, open_rig


@pytest.fixture(scope="module", params=available())
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with open_rig(request.param, tmp_path_factory.mktemp(request.param)) as rig:
        yield rig


@pytest.fixture(autouse=True)
def needs(request: pytest.FixtureRequest, rig: Rig) -> None:
    """`@pytest.mark.needs("fs_snapshot")`: the case is about something that not every provider can do."""
    for mark in request.node.iter_markers("needs"):
        for capability in mark.args:
            if capability == "wire" and rig.engine is None:
                pytest.skip("no wire")
            if capability != "wire" and not rig.can(capability):
                pytest.skip(f"{rig.provider.name} does not declare {capability}")


@pytest.fixture
def sandbox(rig: Rig) -> Iterator[Sandbox]:
    sandbox = create(rig)
    yield sandbox
    aio.run(sandbox.terminate(), timeout_s=30)


@pytest.fixture
def host(sandbox: Sandbox) -> Iterator[Host]:
    host = host_of(sandbox)
    yield host
    host.close()


__all__ = ["key"]
