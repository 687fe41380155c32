"""Requests and answers through the models that the vendor ships: what they do not know is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeVar

from daytona_api_client import CreateSandbox, Sandbox, SandboxListItem, SandboxState, SnapshotDto, SnapshotState
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.wire.engine import Box, Snapshot

ModelT = TypeVar("ModelT", bound=BaseModel)


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "", source: str = "DAYTONA_API") -> None:
        super().__init__(message)
        self.status, self.code, self.source = status, code, source

    def answer(self) -> Response:
        return error(self.status, str(self), self.code, self.source)


async def received(request: Request, model: type[ModelT]) -> ModelT:
    """The body as `model`, without a field that the model does not have."""
    try:
        found: Any = model.from_dict(await request.json())  # type: ignore[attr-defined]
    except ValidationError as failure:
        raise Refused(400, str(failure)) from failure
    if found.additional_properties:
        raise Refused(400, f"unknown fields {sorted(found.additional_properties)}")
    return found  # type: ignore[no-any-return]


def shown(model: BaseModel, status: int = 200) -> Response:
    return JSONResponse(json.loads(model.to_json()), status)  # type: ignore[attr-defined]


def error(status: int, message: str, code: str = "", source: str = "DAYTONA_API") -> Response:
    body = {"statusCode": status, "message": message, "source": source, "code": code or f"HTTP_{status}"}
    return JSONResponse(body, status)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def sandbox(box: Box, asked: CreateSandbox, state: str, address: str, extra: dict[str, Any] | None = None) -> Sandbox:
    sizes: Any = box.settings["sizes"]
    return Sandbox(
        id=box.id,
        organization_id="org",
        name=asked.name or box.id,
        snapshot=asked.snapshot,
        user="daytona",
        env=asked.env or {},
        labels=box.labels,
        public=bool(asked.public),
        network_block_all=bool(asked.network_block_all),
        network_allow_list=asked.network_allow_list,
        domain_allow_list=asked.domain_allow_list,
        kvm=bool(asked.kvm),
        spot=bool(asked.spot),
        target=asked.target or "us",
        **sizes,
        state=SandboxState(state),
        auto_stop_interval=asked.auto_stop_interval,
        auto_pause_interval=asked.auto_pause_interval,
        auto_delete_interval=asked.auto_delete_interval,
        auto_destroy_at=iso(box.expires_at) if box.expires_at else None,
        created_at=iso(box.created_at),
        updated_at=iso(box.created_at),
        sandbox_class=str(box.settings["class"]),
        toolbox_proxy_url=f"{address}/toolbox",
        **(extra or {}),
    )


def list_item(full: Sandbox) -> SandboxListItem:
    """An entry of a list has fewer fields than a sandbox that is asked for by its id."""
    data = full.to_dict()
    names = {field.serialization_alias or name for name, field in SandboxListItem.model_fields.items()}
    found = SandboxListItem.from_dict({name: value for name, value in data.items() if name in names})
    assert found is not None
    return found


def snapshot(
    name: str, state: str, sizes: dict[str, Any], kind: str, taken: Snapshot | None = None, region: str = "us"
) -> SnapshotDto:
    created = datetime.fromtimestamp(taken.created_at if taken else 1_790_000_000, UTC)
    return SnapshotDto(
        id=snapshot_id(name),
        general=taken is None,
        name=name,
        state=SnapshotState(state),
        size=None,
        entrypoint=None,
        cpu=sizes["cpu"],
        gpu=sizes["gpu"],
        mem=sizes["memory"],
        disk=sizes["disk"],
        error_reason=None,
        created_at=created,
        updated_at=created,
        last_used_at=None,
        region_ids=[region],
        source_sandbox_id=taken.parent if taken else None,
        sandbox_class=kind,
    )


def snapshot_id(name: str) -> str:
    return f"id-of-{name}"
