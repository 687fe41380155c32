"""What every sandbox of a node is given before its first cell: the context, the tools, the limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from uuid import uuid4

import msgspec
from django.conf import settings

from runs.blobs import blob_store
from runs.models import Node
from runs.services.config import SessionConfig
from sandboxes import aio
from sandboxes.contract import INPUT_PREFIX, Sandbox
from sandboxes.errors import SandboxError
from sandboxes.frames import ContextFile, Setup, Tool

SETUP_TIMEOUT_S = 120.0
ContextKind = Literal["text", "json", "bytes"]
_KINDS: dict[str, ContextKind] = {"text": "text", "json": "json", "bytes": "bytes"}
_SUFFIXES: dict[ContextKind, str] = {"text": "txt", "json": "json", "bytes": "bin"}


class ContextRefused(SandboxError):
    """The context could not be loaded into the REPL (too large for its memory, or not what its kind says)."""


def context_sha256(node: Node) -> str:
    """The blob of the node's context: the session's for the root, its prompt for a child."""
    return node.session.context.sha256 if node.parent_id is None else node.prompt_sha256


def make_setup(
    node: Node, config: SessionConfig, sandbox: Sandbox, *, clock: float | None = None, seed: int | None = None
) -> Setup:
    """Upload the context and say how to set the REPL up. `clock` and `seed` make it repeatable (see `Setup`); None: as
    the session does."""
    kind: ContextKind = _KINDS[node.session.context.kind] if node.parent_id is None else "text"
    sha256 = context_sha256(node)
    if not sha256:
        raise ContextRefused("The session was imported from an archive without its context. Import one that holds it.")
    path = f"{INPUT_PREFIX}context-0.{_SUFFIXES[kind]}"
    aio.run(sandbox.put_file(path, str(host_file(sha256))), timeout_s=SETUP_TIMEOUT_S)
    tools = [
        Tool(name=tool.name, source=tool.source, value=_raw(tool.value), description=tool.description)
        for tool in config.tools
    ]
    return Setup(
        id="setup",
        contexts=[ContextFile(path, kind, sha256)],
        tools=tools,
        max_output_bytes=config.limits.cell_output_bytes,
        clock=config.determinism.clock if clock is None else clock,
        seed=config.determinism.seed if seed is None else seed,
        snapshots=config.snapshots != "off",
    )


def host_file(sha256: str) -> Path:
    """A plain file of this content for the provider to upload; kept, since many nodes share one context."""
    path = context_copies() / sha256
    try:
        os.utime(path)  # collected when nobody has asked for it in a while
    except FileNotFoundError:
        temporary = path.with_suffix(f".{uuid4().hex}")
        blob_store().copy_to(sha256, temporary)
        temporary.replace(path)
    return path


def context_copies() -> Path:
    """The folder of these files."""
    return Path(settings.DATA_DIR) / "contexts"


def _raw(value: object) -> msgspec.Raw | None:
    return msgspec.Raw(msgspec.json.encode(value)) if value is not None else None
