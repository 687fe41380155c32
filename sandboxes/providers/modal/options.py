"""A `Spec` in the words of `modal.Sandbox.create`, and what is wrong with it. No network, no client."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sandboxes.contract import Estimate, Isolation, Problem, SandboxInfo, SandboxRef, SandboxState, Spec

TAG = "rlmweb"
CREATED_TAG, LIFETIME_TAG, RUNTIME_TAG = "rlmweb-created", "rlmweb-lifetime", "rlmweb-runtime"
"""Unix time in seconds, seconds, and the vendor's word: its client has no call that tells them of a sandbox."""
GPUS = (
    "T4",
    "L4",
    "A10",
    "L40S",
    "A100",
    "A100-40GB",
    "A100-80GB",
    "RTX-PRO-6000",
    "H100",
    "H100!",
    "H200",
    "B200",
    "B200+",
)
"""modal.com/docs/guide/gpu; the client has no list, the server refuses what it does not know."""
MAX_GPUS, MAX_GPUS_A10 = 8, 4
MAX_LIFETIME_S = 24 * 3600
MIN_MEMORY_MB, MIN_CPU = 128, 0.125
"""Ours, to refuse what cannot run Python; Modal publishes no least request for sandboxes."""
MAX_MEMORY_MB, MAX_CPU = 344_064, 64.0
"""modal.com/docs/guide/resources: 336 GiB and 64 cores are the most of one container."""
USD_PER_GPU_S = {
    "B200": Decimal("0.001736"),
    "H200": Decimal("0.001261"),
    "H100": Decimal("0.001097"),
    "RTX-PRO-6000": Decimal("0.000842"),
    "A100-80GB": Decimal("0.000694"),
    "A100-40GB": Decimal("0.000583"),
    "L40S": Decimal("0.000542"),
    "A10": Decimal("0.000306"),
    "L4": Decimal("0.000222"),
    "T4": Decimal("0.000164"),
}
RATES_AS_OF, RATES_SOURCE = "2026-07-01", "api-evangelist, quoting modal.com/pricing"


def problems_of(spec: Spec) -> Sequence[Problem]:
    found = []
    if not 1 <= spec.lifetime_s <= MAX_LIFETIME_S:
        found.append(Problem("lifetime_s", f"lifetime_s is between 1 and {MAX_LIFETIME_S} seconds at Modal"))
    if not MIN_MEMORY_MB <= spec.memory_mb <= MAX_MEMORY_MB:
        found.append(Problem("memory_mb", f"memory_mb is between {MIN_MEMORY_MB} and {MAX_MEMORY_MB} at Modal"))
    if not MIN_CPU <= spec.cpu <= MAX_CPU:
        found.append(Problem("cpu", f"cpu is between {MIN_CPU} and {MAX_CPU:g} cores at Modal"))
    if spec.gpu is not None:
        unknown = [name for name in spec.gpu.types if name not in GPUS]
        most = MAX_GPUS_A10 if "A10" in spec.gpu.types else MAX_GPUS
        if unknown or not spec.gpu.types:
            found.append(Problem("gpu", f"Modal has no GPU {', '.join(unknown) or 'without a type'}; it has {GPUS}"))
        if not 1 <= spec.gpu.count <= most:
            found.append(Problem("gpu", f"Modal gives 1 to {most} GPUs of this type to a sandbox"))
        if spec.isolation_min is Isolation.MICROVM:
            found.append(Problem("isolation_min", "ask for gvisor with a GPU; the VM runtime is not known to have one"))
    return found


def gpus_of(spec: Spec) -> Sequence[str]:
    """The words for `gpu`, in order of preference; one empty word when none is wanted."""
    return [f"{name}:{spec.gpu.count}" for name in spec.gpu.types] if spec.gpu is not None else [""]


def create_options(spec: Spec, gpu: str = "", *, now: float | None = None) -> dict[str, Any]:
    """Keyword arguments beside `app`, `image`, `name` and `client`. `gpu`: one of `gpus_of`.

    `timeout` is always there: its default is 300 s. Processor and memory are limits as well as requests, since what is
    used beyond a request is billed, too.
    """
    runtime = "vm" if spec.isolation_min is Isolation.MICROVM else "gvisor"
    options: dict[str, Any] = {
        "tags": {
            **spec.labels,
            TAG: "1",
            CREATED_TAG: f"{now if now is not None else time.time():.3f}",
            LIFETIME_TAG: str(int(spec.lifetime_s)),
            RUNTIME_TAG: runtime,
        },
        "env": dict(spec.env),
        "timeout": int(spec.lifetime_s),
        "idle_timeout": int(spec.idle_s),
        "cpu": (spec.cpu, spec.cpu),
        "memory": (spec.memory_mb, spec.memory_mb),
        "runtime": runtime,
    }
    if gpu:
        options["gpu"] = gpu
    if spec.region:
        options["region"] = spec.region
    if spec.network.mode == "blocked":
        options["block_network"] = True
    elif spec.network.mode == "allowlist":
        # Both are given, also when empty: an absent list is no limit.
        options["outbound_domain_allowlist"] = list(spec.network.hosts)
        options["outbound_cidr_allowlist"] = list(spec.network.cidrs)
    return options


def name_of(key: str) -> str:
    """The name of the sandbox for an idempotency key. Modal takes letters, digits, dashes, dots; 64 characters at most."""
    return f"rlm-{hashlib.sha256(key.encode()).hexdigest()[:48]}"


def info_of(ref: SandboxRef, tags: Mapping[str, str]) -> SandboxInfo:
    """Of a sandbox that runs."""
    created_at, lifetime_s = _number(tags.get(CREATED_TAG)), _number(tags.get(LIFETIME_TAG))
    isolation = Isolation.MICROVM if tags.get(RUNTIME_TAG) == "vm" else Isolation.GVISOR
    expires_at = created_at + lifetime_s if created_at and lifetime_s else None
    return SandboxInfo(
        ref, SandboxState.RUNNING, isolation, tags.get(RUNTIME_TAG, ""), created_at, expires_at, dict(tags)
    )


def _number(text: str | None) -> float:
    """Tags can be changed by whoever has the key; 0 for what is no number."""
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


def estimate_of(spec: Spec) -> Estimate:
    """CPU and memory of sandboxes have no rate that Modal itself states; the account's `billing.rates()` has them."""
    note = "the rate of CPU and memory in sandboxes is unknown without the account"
    if spec.gpu is not None and (rate := USD_PER_GPU_S.get(spec.gpu.types[0])) is not None:
        note = f"{note}; the GPUs alone are {rate * 3600 * spec.gpu.count:.4f} USD an hour"
    return Estimate(None, RATES_AS_OF, RATES_SOURCE, note)
