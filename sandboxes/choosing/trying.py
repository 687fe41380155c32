"""Create a sandbox at the first place that has room."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sandboxes.accounts.opening import Place
from sandboxes.catalogue.measuring import Operation, measured
from sandboxes.contract import Sandbox, SandboxInfo, Spec
from sandboxes.errors import CapacityUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Created:
    """`passed_over`: places that had no room, with what they said."""

    sandbox: Sandbox
    info: SandboxInfo
    place: Place
    spec: Spec
    passed_over: tuple[str, ...] = ()


async def create_at_first(places: Sequence[Place], spec: Spec, key: str) -> Created:
    """At the first of `places`, and at the next one when it has no room for this spec now.

    The same `key` finds again what an earlier call created. Raises the `CapacityUnavailable` of the first place when none
    has room, and any other `SandboxError` at once: a wrong key or a bad spec does not get better elsewhere.
    """
    first: CapacityUnavailable | None = None
    passed: list[str] = []
    for place in places:
        try:
            with measured(place.name, Operation.CREATE, region=spec.region):
                sandbox = await place.provider.create(spec, idempotency_key=key)
            return Created(sandbox, await sandbox.info(), place, spec, tuple(passed))
        except CapacityUnavailable as error:
            logger.warning("no room at %s: %s", place.name, error)
            passed.append(f"{place.name}: {error}")
            first = first or error
    if first is None:
        raise ValueError("no place to create a sandbox at")
    raise first
