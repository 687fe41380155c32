"""The channel layer as it is configured, over the real Valkey."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from channels.layers import channel_layers
from django.conf import settings

from rlmweb.boot.children import Child
from rlmweb.boot.embedded import valkey_child

# redis-py 8 gives up reading after 5 s unless told otherwise, which used to close every idle websocket.
LONGER_THAN_A_READ_TIMEOUT_S = 6.5


@pytest.mark.slow
async def test_an_idle_listener_still_hears_the_bell() -> None:
    layer = channel_layers.make_backend("default")
    channel = await layer.new_channel()
    await layer.group_add("session.x", channel)
    waiting = asyncio.ensure_future(layer.receive(channel))
    await asyncio.wait([waiting], timeout=LONGER_THAN_A_READ_TIMEOUT_S)
    assert not waiting.done()
    await layer.group_send("session.x", {"type": "ring", "seq": 7})
    assert (await asyncio.wait_for(waiting, 5))["seq"] == 7
    await layer.flush()


async def test_a_listener_hears_the_bell_again_after_the_broker_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey, url = valkey_child(tmp_path)
    config = settings.CHANNEL_LAYERS["default"]["CONFIG"]
    monkeypatch.setitem(config, "hosts", [{**config["hosts"][0], "address": url}])
    await restart(valkey)
    try:
        layer = channel_layers.make_backend("default")
        channel = await layer.new_channel()
        await layer.group_add("session.x", channel)
        assert valkey.process is not None
        valkey.process.kill()
        await restart(valkey)
        waiting = asyncio.ensure_future(layer.receive(channel))
        async with asyncio.timeout(20):
            while not waiting.done():
                await ring(layer)
                await asyncio.wait([waiting], timeout=0.2)
        assert (await waiting)["seq"] == 8
        await layer.flush()
    finally:
        await asyncio.to_thread(valkey.stop)


async def restart(child: Child) -> None:
    child.stop()
    child.start()  # in this thread: the kernel ties the child to it
    await asyncio.to_thread(child.wait_ready, 20)


async def ring(layer: object) -> None:
    """A ring may meet the connection that broke; the next one opens another."""
    try:
        await layer.group_send("session.x", {"type": "ring", "seq": 8})  # type: ignore[attr-defined]
    except ConnectionError:
        return
