from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandboxes.contract import NetworkPolicy, Spec
from sandboxes.providers.blaxel import BlaxelProvider
from tests.wire.blaxel.server import BlaxelServer
from tests.wire.direct import PYTHON
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.rig import Rig
from tests.wire.serving import serve_asgi

KEY, WORKSPACE = "bl-a-key-of-a-test", "acme"


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with open_server(folder) as server:
        yield rig_of(server)


@contextmanager
def open_server(folder: Path) -> Iterator[BlaxelServer]:
    server = BlaxelServer(Engine(folder), Faults(), KEY, WORKSPACE)
    with serve_asgi(server.app) as address:
        server.address = address
        yield server


def provider_of(server: BlaxelServer, *, key: str = KEY, snapshots: bool = True) -> BlaxelProvider:
    return BlaxelProvider(
        api_key=key,
        workspace=WORKSPACE,
        snapshots=snapshots,
        base_url=f"{server.address}/v0",
        poll_s=0.02,
        python=(PYTHON,),
    )


def rig_of(server: BlaxelServer) -> Rig:
    return Rig(
        provider_of(server),
        server.engine,
        server.faults,
        # Where there are snapshots there is no firewall: a blocked network is refused.
        spec=Spec(memory_mb=512, lifetime_s=600, idle_s=300, network=NetworkPolicy("open")),
        with_wrong_key=lambda: provider_of(server, key="bl-wrong"),
        secret=KEY,
    )
