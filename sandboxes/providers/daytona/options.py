"""A `Spec` in the words of Daytona's create call, and what is wrong with it. No network, no client.

Sources: the client 0.226.1 (fields, GPU types), daytona.io/docs (sandboxes, snapshots, limits), read 2026-11-22.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sandboxes.contract import Estimate, Isolation, NetworkPolicy, Problem, Spec

IMAGE = "python:3.11-slim"
LABEL = "rlmweb"
CONTAINER, VM = "container", "linux-vm"
GPUS = ("H100", "H200", "B200", "B300", "RTX-PRO-6000", "RTX-4090", "RTX-5090", "MI355X")
MAX_GPUS = 8
"""Ours, against typing errors; what an organisation may have is said by its quota."""
MIN_MEMORY_MB, MIN_CPU = 128, 0.05
MAX_MEMORY_MB, MAX_CPU, MAX_DISK_MB = 192 * 1024, 16, 512 * 1024
"""The most of any sandbox (one with a GPU). An organisation begins with 4 cores, 8 GiB and 10 GiB of disk each, which
is raised on request, so that it is the vendor who refuses what lies between."""
MIN_LIFETIME_S = 60
FLOATING_TAGS = ("latest", "lts", "stable")
USD_PER_VCPU_S, USD_PER_GIB_S = Decimal("0.000014"), Decimal("0.0000045")
USD_PER_DISK_GIB_S, FREE_DISK_GIB = Decimal("0.00000003"), 5
RATES_AS_OF, RATES_SOURCE = "2026-05-25", "a third party, quoting daytona.io/pricing"


def sandbox_class(spec: Spec) -> str:
    """Containers share the kernel of their host; whoever wants more than that gets a virtual machine."""
    return CONTAINER if spec.isolation_min is Isolation.CONTAINER else VM


def problems_of(spec: Spec) -> Sequence[Problem]:
    return [*_size_problems(spec), *_image_problems(spec), *_gpu_problems(spec), *_network_problems(spec.network)]


def _size_problems(spec: Spec) -> list[Problem]:
    found = []
    if not MIN_MEMORY_MB <= spec.memory_mb <= MAX_MEMORY_MB:
        found.append(Problem("memory_mb", f"memory_mb is between {MIN_MEMORY_MB} and {MAX_MEMORY_MB} at Daytona"))
    if not MIN_CPU <= spec.cpu <= MAX_CPU:
        found.append(Problem("cpu", f"cpu is between {MIN_CPU} and {MAX_CPU} cores at Daytona"))
    if not 0 <= spec.disk_mb <= MAX_DISK_MB:
        found.append(Problem("disk_mb", f"disk_mb is at most {MAX_DISK_MB} at Daytona"))
    if spec.lifetime_s < MIN_LIFETIME_S:
        found.append(Problem("lifetime_s", f"lifetime_s is at least {MIN_LIFETIME_S} seconds: Daytona counts minutes"))
    return found


def _image_problems(spec: Spec) -> list[Problem]:
    if not spec.image:
        return []
    if sandbox_class(spec) == VM:
        message = "a virtual machine at Daytona starts from a VM snapshot, not from an image; leave image empty"
        return [Problem("image", message)]
    name, _, digest = spec.image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if digest or (tag and tag not in FLOATING_TAGS):
        return []
    return [Problem("image", f"Daytona takes an image with a digest or a tag other than {', '.join(FLOATING_TAGS)}")]


def _gpu_problems(spec: Spec) -> list[Problem]:
    if spec.gpu is None:
        return []
    found = []
    unknown = [name for name in spec.gpu.types if name not in GPUS]
    if unknown or not spec.gpu.types:
        named = ", ".join(unknown) or "without a type"
        found.append(Problem("gpu", f"Daytona has no GPU {named}; it has {', '.join(GPUS)}"))
    if not 1 <= spec.gpu.count <= MAX_GPUS:
        found.append(Problem("gpu", f"ask for 1 to {MAX_GPUS} GPUs"))
    if sandbox_class(spec) == VM:
        found.append(Problem("isolation_min", "ask for container with a GPU: the size of a VM is that of its snapshot"))
    return found


def _network_problems(network: NetworkPolicy) -> list[Problem]:
    """Both lists travel as one text with commas, so that an entry with a comma in it would be two."""
    found = []
    for host in network.hosts:
        if not host or "," in host or host != host.strip():
            found.append(Problem("network", f"{host!r} is no name of a host"))
    for cidr in network.cidrs:
        try:
            ipaddress.IPv4Network(cidr, strict=False)
        except ValueError:
            found.append(Problem("network", f"{cidr!r} is no range of IPv4 addresses, which Daytona takes only"))
    return found


# What is asked for -----------------------------------------------------------------------------------------------------


def common_options(spec: Spec, name: str, *, ephemeral: bool, vm: bool) -> dict[str, Any]:
    """What a sandbox is given whatever it is made of: arguments of the client's `Create…Params`."""
    idle_min = minutes(spec.idle_s)
    options: dict[str, Any] = {
        "name": name,
        "env_vars": dict(spec.env),
        "labels": {**spec.labels, LABEL: "1"},
        "public": False,
        # From its creation, whatever its state: what we forget is not paid for ever.
        "ttl_minutes": minutes(spec.lifetime_s),
        # One of them at most, and a pause never with `ephemeral`. 0 is said, too: the defaults are 15 and 60 minutes.
        "auto_stop_interval": 0 if vm else idle_min,
        "auto_pause_interval": idle_min if vm else None,
        **_network_options(spec.network),
    }
    if ephemeral:
        options["ephemeral"] = True
    if spec.region:
        options["target"] = spec.region
    return options


def _network_options(network: NetworkPolicy) -> dict[str, Any]:
    if network.mode == "open":
        return {}
    if network.mode == "blocked" or not (network.hosts or network.cidrs):
        return {"network_block_all": True}  # an empty list is no limit at Daytona
    options = {}
    if network.cidrs:
        options["network_allow_list"] = ",".join(network.cidrs)
    if network.hosts:
        options["domain_allow_list"] = ",".join(network.hosts)
    return options


def resources(spec: Spec) -> dict[str, Any]:
    """Arguments of the client's `Resources`: whole cores and whole GiB, rounded up."""
    sizes: dict[str, Any] = {
        "cpu": max(1, math.ceil(spec.cpu)),
        "memory": _gib(spec.memory_mb),
        "disk": _gib(spec.disk_mb),
    }
    if spec.gpu is not None:
        sizes |= {"gpu": spec.gpu.count, "gpu_type": list(spec.gpu.types)}
    return sizes


def _gib(mb: int) -> int:
    return max(1, math.ceil(mb / 1024))


def minutes(seconds: float) -> int:
    return max(1, math.ceil(seconds / 60))


def estimate_of(spec: Spec) -> Estimate:
    """Of what is really reserved: whole cores and whole GiB."""
    if spec.gpu is not None:
        return Estimate(None, RATES_AS_OF, RATES_SOURCE, "no price of Daytona's GPUs was found")
    if sandbox_class(spec) == VM:
        return Estimate(None, RATES_AS_OF, RATES_SOURCE, "the size of a VM is that of the snapshot it starts from")
    size = resources(spec)
    per_s = USD_PER_VCPU_S * size["cpu"] + USD_PER_GIB_S * size["memory"]
    per_s += USD_PER_DISK_GIB_S * max(0, size["disk"] - FREE_DISK_GIB)
    usd = (per_s * 3600).quantize(Decimal("0.0001"))
    return Estimate(usd, RATES_AS_OF, RATES_SOURCE, "whole cores and whole GiB are billed; a stopped one pays for disk")
