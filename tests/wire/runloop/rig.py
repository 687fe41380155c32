from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandboxes.contract import Spec
from sandboxes.providers.runloop import RunloopProvider
from tests.wire.direct import PYTHON
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.rig import Rig
from tests.wire.runloop.server import RunloopServer
from tests.wire.serving import serve_asgi

TOKEN = "ak_a-key-of-a-test"


@contextmanager
def open_server(folder: Path, **options: Any) -> Iterator[tuple[Rig, RunloopServer]]:
    """With the server, for tests that look at what it was asked."""
    engine, faults = Engine(folder), Faults()
    server = RunloopServer(engine, faults, TOKEN)
    with serve_asgi(server.app) as address:

        def provider(key: str) -> RunloopProvider:
            return RunloopProvider(api_key=key, api_url=address, poll_s=0.02, python=(PYTHON,), **options)

        rig = Rig(
            provider(TOKEN),
            engine,
            faults,
            spec=Spec(memory_mb=512, lifetime_s=600, idle_s=300),
            with_wrong_key=lambda: provider("ak_wrong"),
            secret=TOKEN,
        )
        yield rig, server


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with open_server(folder) as (rig, _):
        yield rig
