"""A spec in Blaxel's words, and what Blaxel says about a sandbox in ours."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sandboxes.contract import Isolation, NetworkPolicy, SandboxInfo, SandboxRef, SandboxState, Spec
from sandboxes.providers.blaxel.client import mapping
from sandboxes.providers.blaxel.errors import malformed

LABEL = "rlmweb"
PREFIX = "rlm-"
IMAGE = "blaxel/py-app:latest"
MB_PER_CORE = 2048
NOWHERE = "nothing.invalid"
"""An allow list needs an entry to be one: this name leads nowhere (RFC 6761)."""
MIN_LIFETIME_S, MIN_IDLE_S = 300, 60
"""Least values of `ttl-max-age` and `ttl-idle` (SDK 0.4.24, `ExpirationPolicy`)."""
GONE = frozenset({"TERMINATED", "DELETING", "DEACTIVATED", "DEACTIVATING"})
"""A record is kept for minutes after its sandbox has ended."""
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def name_of(key: str) -> str:
    """The same for the same key, so that a second call finds what the first one made. At most 49 of [a-z0-9-]."""
    return f"{PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def memory_mb(spec: Spec) -> int:
    """Cores come with memory: what the cores take, when that is more."""
    return max(spec.memory_mb, math.ceil(spec.cpu * MB_PER_CORE))


def sandbox_request(spec: Spec, name: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels(spec)},
        "spec": {
            "runtime": {
                "image": spec.image or IMAGE,
                "memory": memory_mb(spec),
                "envs": envs(spec),
                "ports": [],
            },
            "lifecycle": lifecycle(spec.lifetime_s, spec.idle_s),
        },
    }
    if spec.region:
        document["spec"]["region"] = spec.region
    network = network_of(spec.network)
    if network:
        document["spec"]["network"] = network
    return document


def fork_request(spec: Spec, name: str) -> dict[str, Any]:
    """A fork takes its image, memory and region from the snapshot, and no labels."""
    return {
        "targetName": name,
        "targetType": "sandbox",
        "envs": envs(spec),
        "lifecycle": lifecycle(spec.lifetime_s, spec.idle_s),
    }


def labels(spec: Spec) -> dict[str, str]:
    return {**spec.labels, LABEL: "1"}


def envs(spec: Spec) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in spec.env.items()]


def lifecycle(lifetime_s: float, idle_s: float) -> dict[str, Any]:
    """Ends by age or when nobody used it, whichever comes first."""
    return {
        "expirationPolicies": [
            {"type": "ttl-max-age", "value": f"{math.ceil(lifetime_s)}s", "action": "delete"},
            {"type": "ttl-idle", "value": f"{math.ceil(idle_s)}s", "action": "delete"},
        ]
    }


def network_of(policy: NetworkPolicy) -> dict[str, Any]:
    """A list of domains alone binds only programs that heed the proxy's variables; the rule set leaves no other way out."""
    if policy.mode == "open":
        return {}
    allowed = list(policy.hosts) if policy.mode == "allowlist" and policy.hosts else [NOWHERE]
    return {"proxy": {"routing": [], "allowedDomains": allowed}, "firewall": {"rulesets": ["proxy"]}}


def gone(document: Mapping[str, Any]) -> bool:
    return document.get("status") in GONE


def max_age_s(document: Mapping[str, Any]) -> float | None:
    """How old the sandbox may become. None: there is no limit, or one that we did not set."""
    policies = (mapping(document.get("spec") or {}).get("lifecycle") or {}).get("expirationPolicies") or []
    for policy in policies:
        if policy.get("type") == "ttl-max-age":
            match = re.fullmatch(r"(\d+)([smhdw])", str(policy.get("value")))
            return float(match[1]) * UNITS_S[match[2]] if match else None
    return None


def info_of(ref: SandboxRef, document: Mapping[str, Any]) -> SandboxInfo:
    """Raises `ProviderUnavailable` for a document that is none."""
    metadata = mapping(document.get("metadata"))
    status = document.get("status")
    state = SandboxState.STARTING
    if gone(document):
        state = SandboxState.TERMINATED
    elif status in ("FAILED", "ARCHIVED", "ARCHIVING"):
        state = SandboxState.STOPPED
    elif status == "DEPLOYED":
        state = SandboxState.PAUSED if document.get("state") == "STANDBY" else SandboxState.RUNNING
    created_at = timestamp(metadata.get("createdAt"))
    age_s = max_age_s(document)
    found = {str(name): str(value) for name, value in (metadata.get("labels") or {}).items()}
    if str(metadata.get("name", "")).startswith(PREFIX):
        found.setdefault(LABEL, "1")  # a fork whose maker died before it was labelled
    return SandboxInfo(
        ref,
        state,
        Isolation.MICROVM,
        str(document.get("nodeGeneration") or ""),
        created_at,
        created_at + age_s if age_s is not None else None,
        found,
    )


def timestamp(text: Any) -> float:
    if not text:
        return 0.0
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError as error:
        raise malformed(f"{text!r} is no time") from error
