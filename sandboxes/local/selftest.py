"""Prove a tier before it is used: start a sandbox in it and let code in there try to get out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sandboxes.errors import SandboxError
from sandboxes.local.box import Box
from sandboxes.local.cgroups import NoGroup
from sandboxes.local.spec import BASE_ENV, BoxSpec
from sandboxes.local.tiers import Setting, Tier

TIMEOUT_S = 20.0
ALLOWED_ENV = [*BASE_ENV, "HOME", "PWD", "TMPDIR", "LC_CTYPE"]


class _Host:
    """The host of a runner within the service: collects frames until one of a type arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def send(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self._frames.put_nowait(json.loads(line))

    async def until(self, kind: str) -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1].get("type") != kind:
            frames.append(await self._frames.get())
            if frames[-1].get("type") == "":
                raise SandboxError("the sandbox ended during the self-test")
        return frames

    def drop(self, *, replaced: bool = False) -> None:
        self._frames.put_nowait({"type": ""})

    def pause(self) -> None:
        """There is too little to send for that."""

    def resume(self) -> None:
        """There is too little to send for that."""


async def reason_against(tier: Tier, setting: Setting) -> str:
    """Why `tier` must not be used here; empty when it held."""
    why_not = tier.why_not()
    if why_not:
        return why_not
    with _bait(setting) as facts:
        try:
            output = await asyncio.wait_for(_run_probe(tier, setting, facts), TIMEOUT_S)
            results = json.loads(output)
        except (SandboxError, TimeoutError, ValueError, OSError) as error:
            return f"a sandbox in it does not work: {error or type(error).__name__}"
        return _judge(results, facts)


def own_secret() -> str:
    """Something that only this process's environment holds, as other processes would see it in /proc."""
    with open("/proc/self/environ", "rb") as stream:
        words = [word for word in stream.read().split(b"\0") if len(word) > 16]
    return max(words, key=len, default=b"\0").decode("latin-1")


@contextlib.contextmanager
def _bait(setting: Setting) -> Iterator[dict[str, Any]]:
    """Things that a sandbox must not reach: a file, a listening port, an abstract socket, our environment."""
    canary = setting.folder / "canary"
    canary.write_text(os.urandom(16).hex())
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        name = f"rlmweb-{os.urandom(8).hex()}"
        abstract.bind("\0" + name)
        abstract.listen()
        yield {
            "port": listener.getsockname()[1],
            "abstract": name,
            "canary": str(canary),
            "source": __file__,
            "escape": str(setting.folder / "escaped"),
            "secret": own_secret(),
            "service": os.getpid(),
            "environment": ALLOWED_ENV,
        }


async def _run_probe(tier: Tier, setting: Setting, facts: dict[str, Any]) -> str:
    code = f"FACTS = {facts!r}\n" + (Path(__file__).parent / "probe.py").read_text()
    folder = setting.folder / f"test-{tier.name}"
    box = Box(tier, BoxSpec(tier=tier.name), folder, NoGroup(cpu=1), lambda _: None)
    await box.start()
    try:
        host = _Host()
        box.line.attach(host)
        request = {"type": "exec", "id": "self-test", "code": {"text": code}, "timeout_s": TIMEOUT_S}
        attach = {"type": "attach", "id": "self-test", "after": 0}
        box.line.send(b"".join(json.dumps(frame).encode() + b"\n" for frame in (attach, request)))
        frames = await host.until("finished")
    finally:
        await box.end("the self-test is over")
    if frames[-1]["status"] != "ok":
        raise SandboxError(f"the probe failed: {frames[-1].get('error')}")
    return "".join(frame["text"] for frame in frames if frame["type"] == "output" and frame["stream"] == "stdout")


def _judge(results: dict[str, Any], facts: dict[str, Any]) -> str:
    """What got out, in words; empty when nothing did."""
    holes = [f"{name} {outcome}" for name, outcome in results.items() if name != "environment" and "worked" in outcome]
    if results["environment"]:
        holes.append(f"the environment holds {', '.join(results['environment'])}")
    escaped = (facts["escape"], "/usr/rlmweb-escaped", "/etc/rlmweb-escaped")
    holes += [f"{path} was written" for path in escaped if os.path.exists(path)]
    return "the self-test got out: " + "; ".join(holes) if holes else ""


async def test_tiers(tiers: Sequence[Tier], setting: Setting) -> dict[str, str]:
    """The reason against each tier, strongest first; an empty reason means that it may be used."""
    return {tier.name: await reason_against(tier, setting) for tier in tiers}
