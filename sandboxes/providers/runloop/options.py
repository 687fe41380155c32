"""A `Spec` in the words of Runloop's create call, and what is wrong with it. No network, no client.

Sources: the client 3.0.0 (fields, sizes, their rules); docs.runloop.ai/docs/devboxes/start-stop (lifetime or idle policy,
not both), read 2026-11-23.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandboxes.contract import Estimate, NetworkPolicy, Problem, Spec

LABEL = "rlmweb"
MAX_LIFETIME_S = 48 * 3600
BLUEPRINT_ID = "bpt_"
USD_PER_CPU_S, USD_PER_GB_S = Decimal("0.00003"), Decimal("0.000007")
RATES_AS_OF, RATES_SOURCE = "2026-05-25", "a third party that quotes runloop.ai/pricing"
CPUS = (0.5, 1.0, *(float(cpu) for cpu in range(2, 17, 2)))
MEMORIES_GB = (1, *range(2, 65, 2))
MIN_GB_PER_CPU, MAX_GB_PER_CPU = 2, 8
MIN_DISK_GB, MAX_DISK_GB = 2, 64
ON_IDLE = ("", "suspend", "shutdown")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class Size:
    """Cores, GiB of memory, GiB of disk; `name` of one that Runloop has ready, else `CUSTOM_SIZE`."""

    cpu: float
    memory_gb: int
    disk_gb: int
    name: str = "CUSTOM_SIZE"


READY = (
    Size(0.5, 1, 4, "X_SMALL"),
    Size(1.0, 2, 4, "SMALL"),
    Size(2.0, 4, 8, "MEDIUM"),
    Size(2.0, 8, 16, "LARGE"),
    Size(4.0, 16, 16, "X_LARGE"),
    Size(8.0, 32, 16, "XX_LARGE"),
)


def choose(cpu: float, memory_mb: int, disk_mb: int) -> Size | None:
    """The cheapest size that has all of it. None: there is no such one."""
    pairs = [
        (each, gb)
        for each in CPUS
        for gb in MEMORIES_GB
        if each >= cpu and gb * 1024 >= memory_mb and MIN_GB_PER_CPU * each <= gb <= MAX_GB_PER_CPU * each
    ]
    disk_gb = max(MIN_DISK_GB, -(-disk_mb // 2048) * 2)
    if not pairs or disk_gb > MAX_DISK_GB:
        return None
    cores, memory_gb = min(pairs, key=lambda pair: USD_PER_CPU_S * Decimal(pair[0]) + USD_PER_GB_S * pair[1])
    for ready in READY:
        if (ready.cpu, ready.memory_gb) == (cores, memory_gb) and ready.disk_gb >= disk_gb:
            return ready
    return Size(cores, memory_gb, disk_gb)


def problems_of(spec: Spec) -> Sequence[Problem]:
    found = []
    if spec.gpu is not None:
        found.append(Problem("gpu", "Runloop's API has no GPUs; leave the field empty or choose another provider"))
    if spec.region:
        found.append(Problem("region", "Runloop lets nobody choose a region; leave the field empty"))
    if not 1 <= spec.lifetime_s <= MAX_LIFETIME_S:
        found.append(Problem("lifetime_s", f"lifetime_s is between 1 and {MAX_LIFETIME_S} seconds (48 hours)"))
    if ":" in spec.image or "/" in spec.image:
        message = f"{spec.image[:60]!r} is an image; build a blueprint of it once and name that"
        found.append(Problem("image", message))
    return [*found, *_size_problems(spec), *_network_problems(spec.network)]


def _size_problems(spec: Spec) -> list[Problem]:
    found = []
    if not 0 < spec.cpu <= CPUS[-1]:
        found.append(Problem("cpu", f"cpu is above 0 and at most {CPUS[-1]:g} cores"))
    if not 0 < spec.memory_mb <= MEMORIES_GB[-1] * 1024:
        found.append(Problem("memory_mb", f"memory_mb is between 1 and {MEMORIES_GB[-1] * 1024}"))
    if spec.disk_mb > MAX_DISK_GB * 1024:
        found.append(Problem("disk_mb", f"disk_mb is at most {MAX_DISK_GB * 1024}"))
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


def create_arguments(spec: Spec, key: str, policy_id: str, on_idle: str) -> dict[str, Any]:
    """Arguments of `devboxes.create` but where its disk comes from.

    Nothing of the moment is in here: a second call with the same key says the same.
    """
    return {
        "name": key[:16],
        "environment_variables": dict(spec.env),
        "metadata": {**spec.labels, LABEL: "1"},
        "launch_parameters": {
            **_size_arguments(spec),
            **_life_arguments(spec, on_idle),
            "network_policy_id": policy_id,
        },
        "idempotency_key": key,
    }


def _size_arguments(spec: Spec) -> dict[str, Any]:
    size = choose(spec.cpu, spec.memory_mb, spec.disk_mb)
    if size is None:  # `problems_of` has looked at it; the vendor says no to what it finds
        return {}
    if size.name != "CUSTOM_SIZE":
        return {"resource_size_request": size.name}
    return {
        "resource_size_request": size.name,
        "custom_cpu_cores": size.cpu,
        "custom_gb_memory": size.memory_gb,
        "custom_disk_size": size.disk_gb,
    }


def _life_arguments(spec: Spec, on_idle: str) -> dict[str, Any]:
    """Either or: with both, the length of life is ignored, or the request is refused."""
    if on_idle:
        return {"lifecycle": {"after_idle": {"idle_time_seconds": spec.idle_s, "on_idle": on_idle}}}
    return {"keep_alive_time_seconds": spec.lifetime_s}


def source_of(image: str) -> dict[str, str]:
    """Nothing: Runloop's own image."""
    if not image:
        return {}
    return {"blueprint_id": image} if image.startswith(BLUEPRINT_ID) else {"blueprint_name": image}


def policy_arguments(policy: NetworkPolicy) -> dict[str, Any]:
    """Arguments of `network_policies.create` that say what may be reached. What it takes for granted is said, too."""
    is_open = policy.mode == "open"
    named = policy.mode == "allowlist"
    cidrs = {str(ipaddress.IPv4Network(cidr, strict=False)) for cidr in policy.cidrs} if named else set()
    return {
        "allow_all": is_open,
        "allowed_hostnames": sorted(set(policy.hosts)) if named else [],
        "allowed_cidrs": [{"cidr": cidr} for cidr in sorted(cidrs)],
        "allow_devbox_to_devbox": is_open,  # with `allow_all` the vendor sets it
        "allow_agent_gateway": False,
        "allow_mcp_gateway": False,
        "allow_runloop_mirrors": is_open,
    }


def hashed(key: str, number: int = 0) -> str:
    """Of one length, whatever the caller's key is made of. `number`: see `RunloopProvider._make`."""
    text = f"{key}\0{number}" if number else key
    return f"rlm-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def estimate_of(spec: Spec) -> Estimate:
    size = choose(spec.cpu, spec.memory_mb, spec.disk_mb)
    if size is None:
        return Estimate(None, RATES_AS_OF, RATES_SOURCE, "there is no such size")
    usd = (USD_PER_CPU_S * Decimal(size.cpu) + USD_PER_GB_S * size.memory_gb) * 3600
    note = f"{size.cpu:g} cores and {size.memory_gb} GiB ({size.name}); disk not counted, snapshots cost extra"
    return Estimate(usd.quantize(Decimal("0.0001")), RATES_AS_OF, RATES_SOURCE, note)


def matches(labels: Mapping[str, str], metadata: Mapping[str, str]) -> bool:
    return {**labels, LABEL: "1"}.items() <= metadata.items()
