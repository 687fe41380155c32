"""A spec in Cloudflare's words; what we write down in a sandbox about itself, for the bridge keeps nothing about it."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandboxes.contract import Estimate, Isolation, Problem, SandboxInfo, SandboxRef, SandboxState, Spec
from sandboxes.providers.cloudflare.errors import malformed

LABEL = "rlmweb"
VCPU_S, GIB_S, DISK_GB_S = Decimal("0.000020"), Decimal("0.0000025"), Decimal("0.00000007")
RATES_AS_OF, RATES_SOURCE = "2025-11-01", "a third party quoting Cloudflare's documentation (Containers, Pricing)"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One row of Cloudflare's table (Containers, Limits)."""

    vcpu: float
    memory_mb: int
    disk_mb: int


INSTANCE_TYPES = {
    "lite": InstanceType(1 / 16, 256, 2_000),
    "basic": InstanceType(1 / 4, 1024, 4_000),
    "standard-1": InstanceType(1 / 2, 4096, 8_000),
    "standard-2": InstanceType(1, 6144, 12_000),
    "standard-3": InstanceType(2, 8192, 16_000),
    "standard-4": InstanceType(4, 12_288, 20_000),
}


def id_of(key: str) -> str:
    """The same for the same key: the bridge takes any id of [a-z2-7], so a second call finds what the first one made."""
    return base64.b32encode(hashlib.sha256(key.encode()).digest()[:20]).decode().lower()


def labels(spec: Spec) -> dict[str, str]:
    return {**spec.labels, LABEL: "1"}


def about(spec: Spec) -> str:
    now = time.time()
    said = {"created_at": now, "expires_at": now + spec.lifetime_s, "labels": labels(spec)}
    return json.dumps(said, ensure_ascii=True)


def exports(spec: Spec) -> str:
    """Never empty."""
    return "# variables of the session\n" + "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in spec.env.items()
    )


def info_of(ref: SandboxRef, text: str, tier: str) -> SandboxInfo:
    """Raises `ProviderUnavailable` when code in the sandbox wrote something else there."""
    try:
        said: Any = json.loads(text)
        created_at, expires_at = float(said["created_at"]), float(said["expires_at"])
        found = {str(name): str(value) for name, value in said["labels"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise malformed(f"what the sandbox says about itself: {text[:80]!r}") from error
    return SandboxInfo(ref, SandboxState.RUNNING, Isolation.CONTAINER, tier, created_at, expires_at, found)


def size_problems(spec: Spec, name: str) -> Sequence[Problem]:
    kind, found = INSTANCE_TYPES[name], []
    if not 0 < spec.memory_mb <= kind.memory_mb:
        found.append(Problem("memory_mb", f"memory_mb is at most {kind.memory_mb} on the Worker's type {name}"))
    if not 0 < spec.cpu <= kind.vcpu:
        found.append(Problem("cpu", f"cpu is above 0 and at most {kind.vcpu:g} on the Worker's type {name}"))
    if not 0 < spec.disk_mb <= kind.disk_mb:
        found.append(Problem("disk_mb", f"disk_mb is at most {kind.disk_mb} on the Worker's type {name}"))
    if spec.gpu is not None:
        found.append(Problem("gpu", "Cloudflare's containers have no GPU; leave it empty or choose another provider"))
    if spec.region:
        found.append(Problem("region", "Cloudflare places a container itself; leave the region empty"))
    if spec.isolation_min is not Isolation.CONTAINER:
        message = "Cloudflare's containers are counted as containers: what holds them apart is not published"
        found.append(Problem("isolation_min", message))
    for variable in spec.env:
        if not (variable.isascii() and variable.isidentifier()):
            found.append(Problem("env", f"{variable!r} is no name of a variable"))
    return found


def estimate(name: str) -> Estimate:
    kind = INSTANCE_TYPES[name]
    rate = VCPU_S * Decimal(str(kind.vcpu)) + GIB_S * kind.memory_mb / 1024 + DISK_GB_S * kind.disk_mb / 1000
    note = f"{name} with its CPU busy; an idle CPU costs nothing, memory and disk do; egress apart"
    return Estimate((rate * 3600).quantize(Decimal("0.0001")), RATES_AS_OF, RATES_SOURCE, note)
