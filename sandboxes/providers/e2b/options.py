"""A `Spec` in the words of E2B's create call, and what is wrong with it. No network, no client.

Sources: the client 2.63.0 (fields), e2b.dev/docs/billing and its FAQ (limits, rates), read 2026-11-22.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sandboxes.contract import (
    Estimate,
    Isolation,
    NetworkPolicy,
    Problem,
    SandboxInfo,
    SandboxRef,
    SandboxState,
    Spec,
)

LABEL = "rlmweb"
LIFETIME_LABEL = "rlmweb-lifetime"
"""In seconds. A sandbox that is resumed is given a life anew, of five minutes if nobody says otherwise."""
MAX_LIFETIME_S = 24 * 3600
EVERYTHING = "0.0.0.0/0"
USD_PER_VCPU_S, USD_PER_GIB_S = Decimal("0.000014"), Decimal("0.0000045")
RATES_AS_OF, RATES_SOURCE = "2026-11-22", "e2b.dev/docs/billing and its FAQ"
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class Size:
    """What a template was built with: whole cores, MiB."""

    cpu: int
    memory_mb: int


BASE = {"base": Size(2, 512)}
"""The vendor's own template. Third parties tell of this size; where an account's is another, `templates` says so."""


def choose(spec: Spec, templates: Mapping[str, Size]) -> str | None:
    """The template of a spec: the one it names, or the smallest that is large enough. None: there is no such one."""
    if spec.image:
        return spec.image
    fitting = [name for name, size in templates.items() if size.cpu >= spec.cpu and size.memory_mb >= spec.memory_mb]
    return min(fitting, key=lambda name: (templates[name].memory_mb, templates[name].cpu, name), default=None)


def problems_of(spec: Spec, templates: Mapping[str, Size], max_lifetime_s: int) -> Sequence[Problem]:
    found = _size_problems(spec, templates)
    if spec.gpu is not None:
        found.append(Problem("gpu", "E2B has no GPUs; leave the field empty or choose another provider"))
    if spec.region:
        found.append(Problem("region", "E2B lets nobody choose a region; leave the field empty"))
    if not 1 <= spec.lifetime_s <= max_lifetime_s:
        found.append(Problem("lifetime_s", f"lifetime_s is between 1 and {max_lifetime_s} seconds on this plan of E2B"))
    return [*found, *_network_problems(spec.network)]


def _size_problems(spec: Spec, templates: Mapping[str, Size]) -> list[Problem]:
    """Processor and memory come from the template: what no template has cannot be had."""
    known = templates.get(spec.image)
    sizes = [known] if known is not None else list(templates.values())
    if spec.image and known is None:  # of a size that nobody told us
        return [Problem(name, f"{name} is above 0") for name in ("cpu", "memory_mb") if getattr(spec, name) <= 0] + [
            Problem("memory_mb", "memory_mb is at most 1 TiB") for _ in range(spec.memory_mb > 1 << 20)
        ]
    most_cpu = max((size.cpu for size in sizes), default=0)
    most_memory_mb = max((size.memory_mb for size in sizes), default=0)
    advice = "build a larger template and name it in `templates`"
    found = []
    if not 0 < spec.cpu <= most_cpu:
        found.append(Problem("cpu", f"cpu is above 0 and at most {most_cpu} cores in the templates; {advice}"))
    if not 0 < spec.memory_mb <= most_memory_mb:
        found.append(Problem("memory_mb", f"memory_mb is between 1 and {most_memory_mb} in the templates; {advice}"))
    if not found and choose(spec, templates) is None:
        message = f"no template has {spec.cpu:g} cores and {spec.memory_mb} MB together; {advice}"
        found.append(Problem("memory_mb", message))
    return found


def _network_problems(network: NetworkPolicy) -> list[Problem]:
    found = [
        Problem("network", f"{host!r} is no name of a host, with or without `*.` before it")
        for host in network.hosts
        if not _HOST.fullmatch(host)
    ]
    for cidr in network.cidrs:
        try:
            ipaddress.IPv4Network(cidr, strict=False)
        except ValueError:
            found.append(Problem("network", f"{cidr!r} is no range of IPv4 addresses"))
    return found


# What is asked for ----------------------------------------------------------------------------------------------------


def create_arguments(spec: Spec, key: str, *, public_ports: bool) -> dict[str, Any]:
    """Arguments of `AsyncSandbox.create` but the template.

    `timeout` is a length of life: E2B knows no idleness. Nothing of the moment may be in here: a second call with the
    same key and another body is refused.
    """
    network: dict[str, Any] = {"allow_public_traffic": public_ports}
    policy, allow = spec.network, [*spec.network.hosts, *spec.network.cidrs]
    if policy.mode == "allowlist" and allow:
        network |= {"allow_out": allow, "deny_out": [EVERYTHING]}
    return {
        "timeout": spec.lifetime_s,
        "metadata": {**spec.labels, LABEL: "1", LIFETIME_LABEL: str(spec.lifetime_s)},
        "envs": dict(spec.env),
        # Allowed entries go before denied ones, so that a list needs no more than "deny everything".
        "allow_internet_access": policy.mode == "open" or "allow_out" in network,
        "network": network,
        "lifecycle": {"on_timeout": "kill"},
        "idempotency_key": hashed(key),
    }


def hashed(key: str) -> str:
    """Small letters, digits and hyphens, 255 of them at most, are what E2B takes."""
    return f"rlm-{hashlib.sha256(key.encode()).hexdigest()}"


# What E2B says of a sandbox -------------------------------------------------------------------------------------------


def info_of(
    ref: SandboxRef, state: str, started_at: datetime, end_at: datetime, metadata: object, template: str
) -> SandboxInfo:
    labels = {str(name): str(value) for name, value in metadata.items()} if isinstance(metadata, dict) else {}
    named = {"running": SandboxState.RUNNING, "paused": SandboxState.PAUSED}.get(state, SandboxState.UNKNOWN)
    return SandboxInfo(ref, named, Isolation.MICROVM, template, started_at.timestamp(), end_at.timestamp(), labels)


def lifetime_s(metadata: object) -> int:
    """What the sandbox was made with; an hour for one whose record is not ours."""
    text = metadata.get(LIFETIME_LABEL) if isinstance(metadata, dict) else None
    return int(text) if isinstance(text, str) and text.isdecimal() else 3600


def estimate_of(spec: Spec, templates: Mapping[str, Size]) -> Estimate:
    name = choose(spec, templates)
    size = templates.get(name or "")
    if size is None:
        return Estimate(None, RATES_AS_OF, RATES_SOURCE, "the size of this template is not known here")
    usd = (USD_PER_VCPU_S * size.cpu + USD_PER_GIB_S * size.memory_mb / 1024) * 3600
    note = f"{size.cpu} cores and {size.memory_mb} MB of the template {name}; disk included, paused not billed"
    return Estimate(usd.quantize(Decimal("0.0001")), RATES_AS_OF, RATES_SOURCE, note)
