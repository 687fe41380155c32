"""Templates: what a sandbox is made of. A size belongs to a template, so that a larger sandbox needs a larger template."""

from __future__ import annotations

from e2b import AsyncTemplate

from sandboxes.errors import InvalidSpec
from sandboxes.providers.e2b.client import Client
from sandboxes.providers.e2b.description import NAME
from sandboxes.providers.e2b.errors import translated
from sandboxes.providers.e2b.options import Size

IMAGE = "python:3.11-slim"
BUILD_POLL_CALLS_TIMEOUT_S = 60.0
MIN_MEMORY_MB = 128


async def build(client: Client, name: str, size: Size, image: str) -> str:
    """Build `name` of an image with Python 3.9 or later, and wait until it is ready; its id. A name that is there gets
    a new build. Raises `InvalidSpec` with the vendor's reason when the build failed."""
    if size.cpu < 1 or size.memory_mb < MIN_MEMORY_MB or size.memory_mb % 2:
        raise InvalidSpec(
            f"a template has 1 core and {MIN_MEMORY_MB} MB at least, and an even number of MB", provider=NAME
        )
    with translated():
        built = await AsyncTemplate.build(
            AsyncTemplate().from_image(image),
            name,
            cpu_count=size.cpu,
            memory_mb=size.memory_mb,
            **{**client.options, "request_timeout": BUILD_POLL_CALLS_TIMEOUT_S},
        )
        return built.template_id
