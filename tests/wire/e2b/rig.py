from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandboxes.contract import Spec
from sandboxes.providers.e2b import E2BProvider
from tests.wire.direct import PYTHON
from tests.wire.e2b.server import E2BServer
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.rig import Rig
from tests.wire.serving import serve_asgi

TOKEN = "e2b_a-key-of-a-test"


@contextmanager
def open_server(folder: Path, **options: Any) -> Iterator[tuple[Rig, E2BServer]]:
    """With the server, for tests that look at what it was asked."""
    engine, faults = Engine(folder), Faults()
    server = E2BServer(engine, faults, TOKEN)
    with serve_asgi(server.app) as address:

        def provider(key: str) -> E2BProvider:
            return E2BProvider(api_key=key, api_url=address, sandbox_url=address, python=(PYTHON,), **options)

        rig = Rig(
            provider(TOKEN),
            engine,
            faults,
            spec=Spec(memory_mb=512, lifetime_s=600, idle_s=300),
            with_wrong_key=lambda: provider("e2b_wrong"),
            secret=TOKEN,
        )
        yield rig, server


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with open_server(folder) as (rig, _):
        yield rig
