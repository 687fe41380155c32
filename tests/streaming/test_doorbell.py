"""The doorbell from worker threads: cheap, coalesced, and harmless when the broker is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from runs.stream import doorbell
from runs.stream.doorbell import group_of, ring

DEADLINE_S = 10.0


class Layer:
    """Keeps what is sent; holds messages back while `open` is cleared, and fails while `broken`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.broken = False
        self.failures = 0
        self.open = threading.Event()
        self.open.set()
        self.changed = threading.Condition()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await asyncio.to_thread(self.open.wait, DEADLINE_S)
        if self.broken:
            with self.changed:
                self.failures += 1
                self.changed.notify_all()
            raise ConnectionError("the broker is away")
        with self.changed:
            self.sent.append((group, message["seq"]))
            self.changed.notify_all()

    def wait_for(self, group: str, seq: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: (group, seq) in self.sent, DEADLINE_S), self.sent

    def wait_for_failures(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.failures >= number, DEADLINE_S)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Layer]:
    found = Layer()
    monkeypatch.setattr(doorbell, "get_channel_layer", lambda: found)
    monkeypatch.setattr(doorbell, "_bell", doorbell._Bell())
    yield found
    found.open.set()


def test_a_ring_reaches_the_group_of_the_session(layer: Layer) -> None:
    uuid = uuid4()
    ring(uuid, 7)
    layer.wait_for(f"session.{uuid}", 7)


def test_rings_that_come_while_one_is_on_its_way_become_one(layer: Layer) -> None:
    uuid = uuid4()
    layer.open.clear()
    for seq in range(1, 1001):
        ring(uuid, seq)
    layer.open.set()
    layer.wait_for(group_of(uuid), 1000)
    assert len(layer.sent) <= 3


def test_rings_of_many_threads_end_with_the_newest_of_each_session(layer: Layer) -> None:
    uuids = [uuid4() for _ in range(4)]

    def work(uuid: Any) -> None:
        for seq in range(1, 201):
            ring(uuid, seq)

    threads = [threading.Thread(target=work, args=(uuid,)) for uuid in uuids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for uuid in uuids:
        layer.wait_for(group_of(uuid), 200)


def test_a_broker_that_is_away_costs_the_ring_and_nothing_else(layer: Layer, caplog: pytest.LogCaptureFixture) -> None:
    uuid = uuid4()
    layer.broken = True
    for n in (1, 2):
        ring(uuid, n)
        layer.wait_for_failures(n)
    layer.broken = False
    ring(uuid, 3)
    layer.wait_for(group_of(uuid), 3)
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_an_older_ring_does_not_replace_a_newer_one(layer: Layer) -> None:
    uuid = uuid4()
    layer.open.clear()
    ring(uuid4(), 1)
    ring(uuid, 9)
    ring(uuid, 4)
    layer.open.set()
    layer.wait_for(group_of(uuid), 9)
    assert (group_of(uuid), 4) not in layer.sent
