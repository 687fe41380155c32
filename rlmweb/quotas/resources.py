"""What is counted: the closed list of resources, each with its unit and the words that people see.

A level is what is held at this moment; a flow adds up over a day and a month (UTC). `nodes_per_session` is neither: it
caps each session by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["level", "flow", "cap"]
GPU = "gpu_ms:"
_GPU_TYPE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")


class UnknownResource(ValueError):
    """Not a resource that quotas count (rlmweb/quotas/resources.py lists them)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """`per_unit`: how many of what is counted make one of what people read and enter."""

    name: str
    title: str
    kind: Kind
    unit: str = ""
    per_unit: int = 1

    def shown(self, amount: int) -> str:
        """With its unit: `1.50 USD`, `12 h`, `3,000`."""
        value = amount / self.per_unit
        text = f"{value:,.2f}" if self.per_unit > 1 and value != int(value) else f"{int(value):,}"
        return f"{text} {self.unit}".rstrip()


_HOUR_MS = 3_600_000
RESOURCES: dict[str, Resource] = {
    each.name: each
    for each in (
        Resource("cost_micro_usd", "Cost of model calls", "flow", "USD", 1_000_000),
        Resource("input_tokens", "Input tokens", "flow"),
        Resource("output_tokens", "Output tokens", "flow"),
        Resource("sessions", "Sessions started", "flow"),
        Resource("sandbox_ms", "Time of sandboxes", "flow", "h", _HOUR_MS),
        Resource("concurrent_sandboxes", "Sandboxes at the same time", "level"),
        Resource("nodes_per_session", "Nodes of one session", "cap"),
        Resource("storage_bytes", "Stored contexts", "level", "MB", 1_000_000),
        Resource("exports", "Exports", "flow"),
    )
}


def resource_named(name: str) -> Resource:
    """Raises `UnknownResource`. Time of GPUs is counted by type: `gpu_ms:H100`."""
    if name in RESOURCES:
        return RESOURCES[name]
    if name.startswith(GPU) and _GPU_TYPE.match(name.removeprefix(GPU)):
        return Resource(name, f"Time of {name.removeprefix(GPU)} GPUs", "flow", "h", _HOUR_MS)
    raise UnknownResource(f"{name[:64]!r}: {UnknownResource.__doc__}")


def gpu_resource(gpu: str) -> str:
    """The resource of a type of GPU; what a provider calls it may hold anything."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "-", gpu)[:32].lstrip("-._") or "unknown"
    return GPU + cleaned


def periods_of(resource: Resource) -> tuple[str, ...]:
    """Periods for which a limit of it can be set."""
    return ("day", "month") if resource.kind == "flow" else ("none",)
