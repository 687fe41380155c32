from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandboxes.contract import Spec
from sandboxes.providers.daytona import DaytonaProvider
from tests.wire.daytona.server import DaytonaServer
from tests.wire.direct import PYTHON
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.rig import Rig
from tests.wire.serving import serve_asgi

TOKEN = "dtn_a-key-of-a-test"


@contextmanager
def open_server(folder: Path) -> Iterator[tuple[Rig, DaytonaServer]]:
    """With the server, for tests that look at what it was asked."""
    engine, faults = Engine(folder), Faults()
    server = DaytonaServer(engine, faults, TOKEN)
    with serve_asgi(server.app) as address:

        def provider(key: str) -> DaytonaProvider:
            return DaytonaProvider(api_key=key, target="us", api_url=f"{address}/api", poll_s=0.02, python=(PYTHON,))

        rig = Rig(
            provider(TOKEN),
            engine,
            faults,
            spec=Spec(memory_mb=512, lifetime_s=600, idle_s=300),
            with_wrong_key=lambda: provider("dtn_wrong"),
            secret=TOKEN,
        )
        yield rig, server


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with open_server(folder) as (rig, _):
        yield rig
