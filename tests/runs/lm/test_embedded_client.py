"""The client of the embedded model: finding the process, one request at a time, turns for every session, clear states."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import get_args

import pytest

from runs.lm.base import LmRequest, Message, ModelChoice
from runs.lm.embedded import status
from runs.lm.embedded.client import NOT_READY, EmbeddedClient, build
from runs.lm.embedded.fairness import FairLock
from runs.lm.embedded.known import DEFAULT
from runs.lm.embedded.reporting import (
    STALE_S,
    Endpoint,
    Places,
    Report,
    State,
    request_retry,
    write_endpoint,
    write_report,
)
from runs.lm.errors import LmUnavailable
from runs.lm.site import Site
from tests.runs.lm.faulty_server import FaultyServer


def client_in(folder: Path) -> EmbeddedClient:
    return build(ModelChoice("embedded", DEFAULT.name), "", Site(data_dir=folder))


def ask(client: EmbeddedClient, **fields: object) -> str:
    async def go() -> str:
        try:
            reply = await client.complete(LmRequest((Message("user", "hello"),), **fields))  # type: ignore[arg-type]
            return f"{reply.text}|{reply.model}"
        finally:
            await client.aclose()

    return asyncio.run(go())


def serve_at(folder: Path, server: FaultyServer, mode: str = "ok") -> None:
    write_report(Places(folder), Report("ready"))
    write_endpoint(Places(folder), Endpoint(server.url(mode), "the-key", DEFAULT.name))


def test_the_endpoint_file_leads_to_the_model(tmp_path: Path, server: FaultyServer) -> None:
    serve_at(tmp_path, server)
    assert ask(client_in(tmp_path)) == f"The answer is 42.|{DEFAULT.name}"
    asked = server.requests[-1]
    assert asked.headers["authorization"] == "Bearer the-key"
    assert (asked.body["temperature"], asked.body["cache_prompt"]) == (0.0, True)
    assert asked.body["max_tokens"] > 0, "a model of ten tokens a second must not ramble"


def test_the_key_is_for_its_owner_only(tmp_path: Path, server: FaultyServer) -> None:
    serve_at(tmp_path, server)
    assert Places(tmp_path).endpoint.stat().st_mode & 0o077 == 0


def test_a_grammar_hint_reaches_this_server_under_its_name(tmp_path: Path, server: FaultyServer) -> None:
    serve_at(tmp_path, server)
    ask(client_in(tmp_path), extra={"gbnf": 'root ::= "x"'})
    body = server.requests[-1].body
    assert body["grammar"] == 'root ::= "x"'
    assert "gbnf" not in body


def test_a_process_that_was_started_anew_is_found_again(tmp_path: Path, server: FaultyServer) -> None:
    write_report(Places(tmp_path), Report("ready"))
    write_endpoint(Places(tmp_path), Endpoint("http://127.0.0.1:1/v1", "old", DEFAULT.name))
    choice = ModelChoice("embedded", DEFAULT.name, extra={"retry": {"max_attempts": 1}})

    async def go() -> str:
        client = build(choice, "", Site(data_dir=tmp_path))
        call = asyncio.create_task(client.complete(LmRequest((Message("user", "hello"),))))
        while client._connected is None:  # noqa: ASYNC110  # nothing tells that a connection is about to be made
            await asyncio.sleep(0)
        serve_at(tmp_path, server)
        reply = await call
        await client.aclose()
        return reply.text

    assert asyncio.run(go()) == "The answer is 42."


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report("downloading", bytes=279_000_000, total=1_117_000_000), r"279 of 1,117 MB \(24 %\)"),
        (Report("failed", error="publisher: no route"), "could not be fetched: publisher: no route"),
        (Report("absent"), "is not there"),
        (None, "model process is not running"),
    ],
)
def test_a_model_that_is_not_ready_says_why(tmp_path: Path, report: Report | None, words: str) -> None:
    if report is not None:
        write_report(Places(tmp_path), report)
    with pytest.raises(LmUnavailable, match=words):
        ask(client_in(tmp_path))


def test_every_state_has_its_words() -> None:
    assert set(NOT_READY) == set(get_args(State))


def test_a_model_that_is_being_loaded_is_waited_for(tmp_path: Path, server: FaultyServer) -> None:
    write_report(Places(tmp_path), Report("loading"))

    async def go() -> str:
        client = client_in(tmp_path)
        call = asyncio.create_task(client.complete(LmRequest((Message("user", "hello"),))))
        await asyncio.sleep(0)
        serve_at(tmp_path, server)
        reply = await asyncio.wait_for(call, 30)
        await client.aclose()
        return reply.text

    assert asyncio.run(go()) == "The answer is 42."


def test_a_status_that_nobody_touches_tells_of_a_dead_process(tmp_path: Path) -> None:
    write_report(Places(tmp_path), Report("ready"))
    assert status(tmp_path)["state"] == "ready"
    past = time.time() - STALE_S - 1
    os.utime(Places(tmp_path).status, (past, past))
    found = status(tmp_path)
    assert (found["state"], found["error"]) == ("absent", "The model process is not running.")


def test_status_for_pages_is_complete_and_honest(tmp_path: Path) -> None:
    found = status(tmp_path)
    assert found["label"] == "qwen2.5-coder-1.5b · on this CPU · $0"
    assert (found["state"], found["bytes"], found["total"]) == ("absent", 0, DEFAULT.size_bytes)


@pytest.mark.parametrize("content", ["", "null", "[]", "{", '{"state": "ready", "surprise": 1}'])
def test_a_broken_status_file_counts_as_none(tmp_path: Path, content: str) -> None:
    places = Places(tmp_path)
    places.folder.mkdir()
    places.status.write_text(content)
    places.endpoint.write_text(content)
    assert status(tmp_path)["state"] == "absent"


def test_a_retry_can_be_asked_for(tmp_path: Path) -> None:
    request_retry(tmp_path)
    assert Places(tmp_path).retry.exists()


# Turns --------------------------------------------------------------------------------------------------------------


async def waiters(lock: FairLock, groups: str, served: list[str], inside: list[int]) -> list[asyncio.Task[None]]:
    """One task a letter, each of which holds the lock for a moment; all stand in line when this returns."""

    async def one(group: str) -> None:
        async with lock.turn(group):
            inside.append(1)
            assert len(inside) == 1, "only one at a time"
            served.append(group)
            await asyncio.sleep(0)
            inside.pop()

    tasks = [asyncio.create_task(one(group)) for group in groups]
    await asyncio.sleep(0)
    return tasks


def test_sessions_take_turns_and_nobody_is_kept_out() -> None:
    served: list[str] = []

    async def go() -> None:
        lock = FairLock()
        async with lock.turn("first"):
            tasks = await waiters(lock, "aaaaabbc", served, [])
        await asyncio.gather(*tasks)

    asyncio.run(go())
    assert "".join(served) == "abcabaaa"


def test_a_waiter_that_gives_up_blocks_nobody() -> None:
    served: list[str] = []

    async def go() -> None:
        lock = FairLock()
        async with lock.turn("first"):
            tasks = await waiters(lock, "abc", served, [])
            tasks[1].cancel()
            await asyncio.sleep(0)
        tasks[0].cancel()  # called up by the release above, and cancelled before it could run
        await asyncio.gather(*tasks, return_exceptions=True)
        async with lock.turn("last"):
            served.append("last")

    asyncio.run(asyncio.wait_for(go(), 10))
    assert served == ["c", "last"]


def test_requests_of_one_client_go_one_by_one(tmp_path: Path, server: FaultyServer) -> None:
    serve_at(tmp_path, server)

    async def go() -> list[str]:
        client = client_in(tmp_path)
        requests = [LmRequest((Message("user", str(n)),), key=f"s{n}/0/1/1/c1/{n}") for n in range(12)]
        replies = await asyncio.gather(*(client.complete(request) for request in requests))
        await client.aclose()
        return [reply.text for reply in replies]

    assert asyncio.run(go()) == ["The answer is 42."] * 12
