"""Network policies: records of the account that a devbox names. One for each policy that sessions ask for."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any
from uuid import uuid4

from runloop_api_client.types import NetworkPolicyView

from sandboxes.contract import NetworkPolicy
from sandboxes.providers.runloop.client import Client
from sandboxes.providers.runloop.errors import translated
from sandboxes.providers.runloop.options import LABEL, policy_arguments


class Policies:
    """A devbox always names one, open ones included: else it has that of its blueprint, or of the account."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids: dict[str, str] = {}
        self._looking = asyncio.Lock()

    async def id_of(self, policy: NetworkPolicy) -> str:
        """Of the policy with this content, which is made when there is none."""
        asked = policy_arguments(policy)
        name = f"{LABEL}-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]}"
        async with self._looking:
            if name not in self._ids:
                with translated():
                    self._ids[name] = await self._find(name, asked) or await self._create(name, asked)
            return self._ids[name]

    def forget(self) -> None:
        """Somebody may have deleted them."""
        self._ids.clear()

    async def _find(self, name: str, asked: dict[str, Any]) -> str:
        """Names may be reused, and policies changed: what counts is what it says."""
        async for found in self._client.api.network_policies.list(name=name, limit=100, include_total_count=False):
            if found.name == name and _says(found) == asked:
                return str(found.id)
        return ""

    async def _create(self, name: str, asked: dict[str, Any]) -> str:
        made = await self._client.api.network_policies.create(
            name=name, description="Made by rlmweb for its sandboxes.", idempotency_key=uuid4().hex, **asked
        )
        return str(made.id)


def _says(found: NetworkPolicyView) -> dict[str, Any]:
    """In the words of `policy_arguments`. A rule with ports is no rule of ours."""
    egress = found.egress
    cidrs = [
        {"cidr": each.cidr, "ports": each.ports} if each.ports else {"cidr": each.cidr} for each in egress.allowed_cidrs
    ]
    return {
        "allow_all": egress.allow_all,
        "allowed_hostnames": sorted(egress.allowed_hostnames),
        "allowed_cidrs": sorted(cidrs, key=lambda each: str(each["cidr"])),
        "allow_devbox_to_devbox": egress.allow_devbox_to_devbox,
        "allow_agent_gateway": egress.allow_agent_gateway,
        "allow_mcp_gateway": egress.allow_mcp_gateway,
        "allow_runloop_mirrors": egress.allow_runloop_mirrors,
    }
