from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandboxes.providers.cloudflare import CloudflareWorkerProvider
from tests.wire.cloudflare_worker.server import WorkerServer
from tests.wire.direct import PYTHON
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.rig import Rig
from tests.wire.serving import serve_asgi

KEY = "cfw-a-key-of-a-test"


@contextmanager
def open_server(folder: Path) -> Iterator[WorkerServer]:
    server = WorkerServer(Engine(folder), Faults(), KEY)
    with serve_asgi(server.app, ws_max_size=1 << 26) as address:
        server.address = address
        yield server


def provider_of(server: WorkerServer, *, key: str = KEY) -> CloudflareWorkerProvider:
    return CloudflareWorkerProvider(url=server.address, api_key=key, python=(PYTHON,))


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with open_server(folder) as server:
        yield Rig(
            provider_of(server),
            server.engine,
            server.faults,
            with_wrong_key=lambda: provider_of(server, key="cfw-wrong"),
            secret=KEY,
        )
