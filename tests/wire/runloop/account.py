"""What belongs to the account and to no devbox: network policies and blueprints."""

from __future__ import annotations

import itertools
import time
from typing import Any

from runloop_api_client.types import (
    BlueprintBuildParameters,
    BlueprintView,
    NetworkPolicyView,
    blueprint_create_params,
    network_policy_create_params,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.wire.runloop.models import Refused, received, shown

BUILD_STEPS = ("queued", "provisioning", "building")


class Account:
    def __init__(self) -> None:
        self.policies: dict[str, NetworkPolicyView] = {}
        self.blueprints: dict[str, BlueprintView] = {}
        self.build_failure = ""
        """A category of failures that the next build ends with."""
        self._numbers = itertools.count(1)

    # Network policies -----------------------------------------------------------------------------------------------

    async def create_policy(self, request: Request) -> Response:
        asked = await received(request, network_policy_create_params.NetworkPolicyCreateParams)
        now = int(time.time() * 1000)
        flags = ("allow_agent_gateway", "allow_all", "allow_mcp_gateway")
        egress: dict[str, Any] = {name: bool(asked.get(name)) for name in flags}
        for name in ("allow_devbox_to_devbox", "allow_runloop_mirrors"):
            egress[name] = bool(asked.get(name)) or egress["allow_all"]
        for name in ("allowed_cidrs", "allowed_hostnames"):
            egress[name] = asked.get(name) or []
        made = NetworkPolicyView(
            id=f"np_{next(self._numbers)}",
            create_time_ms=now,
            update_time_ms=now,
            name=asked["name"],
            description=asked.get("description"),
            egress=egress,  # type: ignore[arg-type]
        )
        self.policies[made.id] = made
        return shown(made)

    async def list_policies(self, request: Request) -> Response:
        """`name` finds parts of names, too."""
        name = request.query_params.get("name", "")
        found = [policy for policy in self.policies.values() if name in policy.name]
        return page("network_policies", found, request)

    # Blueprints -----------------------------------------------------------------------------------------------------

    async def create_blueprint(self, request: Request) -> Response:
        asked = await received(request, blueprint_create_params.BlueprintCreateParams)
        made = BlueprintView(
            id=f"bpt_{next(self._numbers)}",
            create_time_ms=int(time.time() * 1000),
            name=asked["name"],
            parameters=BlueprintBuildParameters(name=asked["name"], dockerfile=asked.get("dockerfile")),
            state="created",
            status="queued",
            metadata=asked.get("metadata"),
        )
        self.blueprints[made.id] = made
        return shown(made)

    async def get_blueprint(self, request: Request) -> Response:
        """It goes on by a step whenever somebody looks."""
        found = self.blueprints.get(request.path_params["id"])
        if found is None:
            raise Refused(404, "blueprint not found")
        if found.status in BUILD_STEPS:
            steps: Any = (*BUILD_STEPS, "failed" if self.build_failure else "build_complete")
            found.status = steps[steps.index(found.status) + 1]
            if found.status == "failed":
                found.failure_reason = self.build_failure  # type: ignore[assignment]
        return shown(found)

    def require_blueprint(self, asked: dict[str, Any]) -> None:
        id, name = asked.get("blueprint_id"), asked.get("blueprint_name")
        if not id and not name:
            return
        ready = [each for each in self.blueprints.values() if each.status == "build_complete"]
        if not any(id == each.id or name == each.name for each in ready):
            raise Refused(404, f"blueprint {id or name} not found")


def page(kind: str, found: list[Any], request: Request, most: int = 5000) -> Response:
    """A part of a list, behind the item that `starting_after` names."""
    after = request.query_params.get("starting_after")
    start = next((number + 1 for number, each in enumerate(found) if each.id == after), 0)
    limit = min(int(request.query_params.get("limit", "20")), most)
    part = [each.model_dump(mode="json", exclude_none=True) for each in found[start : start + limit]]
    return JSONResponse({kind: part, "has_more": start + limit < len(found)})
