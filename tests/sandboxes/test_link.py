"""The worker's face of a runner: many answers, large texts, broken streams, forged lines."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from sandboxes import aio
from sandboxes.errors import InvalidSpec, NotFound, ProtocolViolation, SandboxError, StreamLost
from sandboxes.frames import Finished, RunnerFrame
from sandboxes.link import RunnerLink
from sandboxes.providers.local import LocalProvider
from sandboxes.registry import create_provider, provider_class
from tests.sandboxes.service import Linked, wait_for

OpenSandbox = Callable[..., Linked]


def test_a_thousand_answers_reach_their_prompts(open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox()
    cell = linked.start(
        "r = llm_query_batched([str(i) for i in range(1000)])\nprint(r == [f'r{i}' for i in range(1000)])"
    )
    call = linked.subcall()
    for index in range(1000):
        linked.link.answer(call.call, index, text=f"r{index}")
    assert linked.finish(cell).stdout == "True\n"


@pytest.mark.parametrize("text", ["x" * 3_000_000, "\x01" * 200_000, "€" * 90_000], ids=["long", "escapes", "wide"])
def test_texts_of_any_size_pass_both_ways(open_sandbox: OpenSandbox, text: str) -> None:
    linked = open_sandbox()
    code = f"source = {text!r}\nreply = llm_query(source)\nanswer['content'] = reply * 2; answer['ready'] = True"
    cell = linked.start(code)
    call = linked.subcall()
    assert linked.link.read_payload(call.prompts[0], 10**7) == text
    linked.link.answer(call.call, 0, text=text)
    final = linked.finish(cell).finished.final
    assert final is not None
    assert linked.link.read_payload(final, 10**7) == text * 2
    with pytest.raises(InvalidSpec):
        linked.link.read_payload(final, 1000)


def test_code_and_answers_of_many_megabytes_are_handed_over(open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox()
    cell = linked.start(f"text = {'x' * 9_000_000!r}\nprint(len(text), len(llm_query('q')))")
    linked.link.answer(linked.subcall().call, 0, text="€" * 5_000_000)
    assert linked.finish(cell).stdout == "9000000 5000000\n"


def test_an_answer_that_finds_no_room_is_an_error_for_the_code(
    open_sandbox: OpenSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(path: str, data: bytes) -> None:
        raise InvalidSpec("no space left")

    linked = open_sandbox()
    monkeypatch.setattr(linked.sandbox, "write_file", no_room)
    cell = linked.start("print(llm_query('q')); print(llm_query('r'))")
    linked.link.answer(linked.subcall().call, 0, text="x" * 1_000_000)
    linked.link.answer(linked.subcall().call, 0, text="small")
    assert linked.finish(cell).stdout == "Error: the answer could not be handed over: no space left\nsmall\n"


def test_a_new_host_takes_over_and_misses_nothing(open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox()
    cell = linked.start("print('before'); print(llm_query('q'))")
    linked.subcall()
    frames: queue.Queue[Any] = queue.Queue()
    lost: list[SandboxError] = []
    second = RunnerLink(linked.sandbox, frames.put, lost.append)
    state = second.attach(0)
    assert (state.cell, [call.call for call in state.outstanding]) == (cell, ["c1"])
    second.answer("c1", 0, text="after")
    seqs = []
    while not isinstance(frame := frames.get(timeout=10), Finished):
        seqs.append(frame.seq)
    # What the first host had acknowledged is forgotten; the rest came without a gap.
    assert [*seqs, frame.seq] == list(range(state.first_seq, frame.seq + 1))
    assert frame.cell == cell
    assert not lost
    second.close()
    with pytest.raises(StreamLost, match="another host"):
        linked.wait(lambda _: False)


def test_a_broken_stream_is_opened_again(open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox()
    cell = linked.start("print('one'); print(llm_query('q')); print('two')")
    linked.subcall()
    channel: Any = linked.link._channel
    aio.run(_break(channel))
    wait_for(lambda: channel._writer is not None and not channel._writer.is_closing())
    linked.link.answer("c1", 0, text="reply")
    assert linked.finish(cell).stdout == "one\nreply\ntwo\n"


async def _break(channel: Any) -> None:
    channel._writer.transport.abort()


def test_the_end_of_the_sandbox_is_reported_once(open_sandbox: OpenSandbox) -> None:
    linked = open_sandbox()
    aio.run(linked.sandbox.terminate())
    with pytest.raises(NotFound):
        linked.wait(lambda _: False)
    assert linked.incoming.empty()


class FakeChannel:
    """A channel that says what a test wants, after a proper answer to `attach`."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._attach: asyncio.Queue[str] = asyncio.Queue()

    async def send_line(self, line: bytes) -> None:
        self._attach.put_nowait(json.loads(line)["id"])

    async def send_lines(self, lines: Sequence[bytes]) -> None:
        pass

    async def lines(self) -> AsyncIterator[bytes]:
        yield json.dumps({"type": "state", "id": await self._attach.get(), "last_seq": 0, "first_seq": 1}).encode()
        for line in self._lines:
            yield line

    async def reattach(self) -> None:
        raise StreamLost

    async def close(self) -> None:
        pass


class FakeSandbox:
    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    async def open_channel(self) -> FakeChannel:
        return FakeChannel(self._lines)


@pytest.mark.parametrize("line", [
    b"not json", b"[]", b'{"type": "unknown", "seq": 1}', b'{"type": "ready"}', b'{"type": "ready", "seq": "1"}',
    b'{"type": "ready", "seq": 5}', b'{"type": "output", "seq": 1, "cell": "c", "stream": "stdin", "text": ""}',
    b'\xff', b'{"type": "ready", "seq": 1, "python": "' + b"x" * (1 << 20) + b'"}',
])  # fmt: skip
def test_a_line_that_breaks_the_protocol_ends_the_link(line: bytes) -> None:
    lost: queue.Queue[SandboxError] = queue.Queue()
    frames: list[RunnerFrame] = []
    link = RunnerLink(FakeSandbox([line]), frames.append, lost.put)  # type: ignore[arg-type]
    link.attach(0)
    assert isinstance(lost.get(timeout=10), ProtocolViolation)
    assert frames == []


def test_the_registry_names_what_there_is() -> None:
    assert provider_class("local") is LocalProvider
    with pytest.raises(InvalidSpec, match=r"no sandbox provider 'moon'.*local"):
        create_provider("moon")
