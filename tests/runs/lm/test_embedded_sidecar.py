"""The model process itself: one at a time, clear failures, an orderly end; and with the real weights when they are given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runs.lm.base import LmRequest, Message, ModelChoice, Sampling
from runs.lm.embedded import status
from runs.lm.embedded.client import build
from runs.lm.embedded.known import DEFAULT
from runs.lm.site import Site

WAIT_S = 120


@contextlib.contextmanager
def sidecar(data_dir: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "runs.lm.embedded.sidecar", "--data", str(data_dir)]
    with (data_dir / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], data_dir: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, (data_dir / "log").read_text()[-2000:]
        pause.wait(0.02)


def test_a_wrong_file_is_shown_and_a_stop_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "wrong.gguf").write_bytes(b"GGUF")
    with sidecar(tmp_path, RLMWEB_LOCAL_MODEL=str(tmp_path / "wrong.gguf")) as process:
        wait_until(lambda: status(tmp_path)["state"] == "failed", tmp_path)
        assert "SHA-256" in status(tmp_path)["error"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert status(tmp_path)["state"] == "absent"
    assert not (tmp_path / "models" / "endpoint.json").exists()


def test_only_one_process_works_in_a_folder(tmp_path: Path) -> None:
    with sidecar(tmp_path, RLMWEB_LOCAL_MODEL=str(tmp_path / "missing.gguf")):
        wait_until(lambda: status(tmp_path)["state"] == "failed", tmp_path)
        with sidecar(tmp_path) as second:
            assert second.wait(WAIT_S) == 1


def test_a_retry_is_taken_up_at_once(tmp_path: Path) -> None:
    missing = tmp_path / "late.gguf"
    with sidecar(tmp_path, RLMWEB_LOCAL_MODEL=str(missing)):
        wait_until(lambda: "no such file" in status(tmp_path)["error"], tmp_path)
        missing.write_bytes(b"GGUF")

        def tried_again() -> bool:
            (tmp_path / "models" / "retry").touch()
            return "SHA-256" in status(tmp_path)["error"]

        wait_until(tried_again, tmp_path)


@pytest.mark.model
def test_the_real_model_answers_streams_and_counts(tmp_path: Path) -> None:
    weights = os.environ.get("RLMWEB_LOCAL_MODEL", "")
    if not Path(weights).is_file():
        pytest.skip("set RLMWEB_LOCAL_MODEL to the weights of qwen2.5-coder-1.5b to run this")
    with sidecar(tmp_path) as process:
        wait_until(lambda: status(tmp_path)["state"] == "ready", tmp_path)
        pieces: list[str] = []

        async def go() -> None:
            client = build(ModelChoice("embedded", DEFAULT.name), "", Site(data_dir=tmp_path))
            request = LmRequest(
                (Message("user", "What is the capital of France? One word."),), Sampling(max_output_tokens=16)
            )
            reply = await client.complete(request, pieces.append)
            assert "Paris" in reply.text
            assert reply.text == "".join(pieces)
            assert reply.usage.input_tokens
            assert reply.usage.output_tokens
            shaped = await client.complete(
                LmRequest((Message("user", "Say hello."),), extra={"gbnf": 'root ::= "FINAL(" [^\\n]+ ")"'})
            )
            assert shaped.text.startswith("FINAL(")
            await client.aclose()

        asyncio.run(go())
        assert json.loads((tmp_path / "models" / "endpoint.json").read_text())["url"].startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
