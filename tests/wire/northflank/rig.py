from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandboxes.contract import Spec
from sandboxes.providers.northflank import NorthflankProvider
from tests.wire.direct import PYTHON
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.northflank.server import NorthflankServer
from tests.wire.rig import Rig
from tests.wire.serving import serve_asgi

TOKEN, PROJECT = "nf-a-token-of-a-test", "sandboxes"


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    engine, faults = Engine(folder), Faults()
    server = NorthflankServer(engine, faults, TOKEN, PROJECT)
    with serve_asgi(server.app) as address:

        def provider(token: str) -> NorthflankProvider:
            return NorthflankProvider(api_token=token, project=PROJECT, base_url=address, poll_s=0.02, python=(PYTHON,))

        yield Rig(
            provider(TOKEN),
            engine,
            faults,
            spec=Spec(memory_mb=512, cpu=0.2, lifetime_s=600),
            with_wrong_key=lambda: provider("nf-wrong"),
            secret=TOKEN,
        )
