from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandboxes.contract import Spec
from sandboxes.providers.modal import ModalProvider
from tests.wire.direct import PYTHON
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.modal.calls import Codec, Connections
from tests.wire.modal.server import ModalServer
from tests.wire.rig import Rig
from tests.wire.serving import loop_in_thread

TOKEN = ("ak-a-token-of-a-test", "as-the-secret-of-a-test")


@contextmanager
def open_server(folder: Path, **options: Any) -> Iterator[tuple[Rig, ModalServer]]:
    """With the server, for tests that look at what it was asked."""
    engine, faults = Engine(folder), Faults()
    server = ModalServer(engine, faults, TOKEN)  # type: ignore[abstract]  # `served` filled it in
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def provider(token: tuple[str, str]) -> ModalProvider:
        return ModalProvider(
            token_id=token[0], token_secret=token[1], server_url=server.url, python=(PYTHON,), **options
        )

    with loop_in_thread() as run:
        serving = run(start(server, listener))
        rig = Rig(
            provider(TOKEN),
            engine,
            faults,
            spec=Spec(memory_mb=512, lifetime_s=600, idle_s=300),
            with_wrong_key=lambda: provider(("ak-wrong", "as-wrong")),
            secret=TOKEN[1],
        )
        try:
            yield rig, server
        finally:
            run(stop(server, serving))


async def start(server: ModalServer, listener: socket.socket) -> Connections:
    serving = Connections([server, server.router], codec=Codec())
    await serving.start(sock=listener)
    return serving


async def stop(server: ModalServer, serving: Connections) -> None:
    await server.router.close()
    serving.close_all()
    await serving.wait_closed()


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    with open_server(folder) as (rig, _):
        yield rig
