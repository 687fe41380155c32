from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandboxes.contract import NetworkPolicy, Spec
from sandboxes.providers.cloudflare import CloudflareProvider
from tests.wire.cloudflare.server import BridgeServer
from tests.wire.direct import PYTHON
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.rig import Rig
from tests.wire.serving import serve_asgi

KEY = "cf-a-key-of-a-test"


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with open_server(folder) as server:
        yield rig_of(server)


@contextmanager
def open_server(folder: Path) -> Iterator[BridgeServer]:
    server = BridgeServer(Engine(folder), Faults(), KEY)
    with serve_asgi(server.app, ws_max_size=1 << 26) as address:
        server.address = address
        yield server


def provider_of(server: BridgeServer, *, key: str = KEY) -> CloudflareProvider:
    return CloudflareProvider(url=server.address, api_key=key, python=(PYTHON,))


def rig_of(server: BridgeServer) -> Rig:
    return Rig(
        provider_of(server),
        server.engine,
        server.faults,
        spec=Spec(memory_mb=512, lifetime_s=600, idle_s=300, network=NetworkPolicy("open")),
        with_wrong_key=lambda: provider_of(server, key="cf-wrong"),
        secret=KEY,
    )
