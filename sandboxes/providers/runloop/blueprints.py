"""Blueprints: what a devbox is made of. Built once of an image; several builds share a name, and the latest is used."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from sandboxes.errors import InvalidSpec, ProviderUnavailable
from sandboxes.providers.runloop.client import Client
from sandboxes.providers.runloop.description import NAME
from sandboxes.providers.runloop.errors import translated
from sandboxes.providers.runloop.options import LABEL

IMAGE = "python:3.11-slim"
BUILD_TIMEOUT_S = 1800.0


async def build(client: Client, name: str, dockerfile: str, poll_s: float) -> str:
    """Build it and wait until it is ready; its id. Raises `InvalidSpec` with the vendor's reason when that failed."""
    deadline = time.monotonic() + BUILD_TIMEOUT_S
    with translated():
        found = await client.api.blueprints.create(
            name=name, dockerfile=dockerfile, metadata={LABEL: "1"}, idempotency_key=uuid4().hex
        )
        while found.status != "build_complete":
            if found.status == "failed":
                raise InvalidSpec(f"blueprint {name} ({found.id}) failed: {found.failure_reason}", provider=NAME)
            if time.monotonic() > deadline:
                raise ProviderUnavailable(f"blueprint {name} is {found.status} for too long", provider=NAME)
            await asyncio.sleep(poll_s)
            found = await client.api.blueprints.retrieve(found.id)
        return str(found.id)
