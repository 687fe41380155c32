"""Requests and answers through the types that the vendor ships: what they do not know is refused."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from runloop_api_client.types import DevboxView
from runloop_api_client.types.shared import LaunchParameters
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import get_type_hints, is_typeddict

from tests.wire.engine import Box

SIZES = {
    "X_SMALL": (0.5, 1),
    "SMALL": (1, 2),
    "MEDIUM": (2, 4),
    "LARGE": (2, 8),
    "X_LARGE": (4, 16),
    "XX_LARGE": (8, 32),
}
MAX_KEEP_ALIVE_S = 172_800


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def answer(self) -> Response:
        return error(self.status, str(self))


async def received(request: Request, params: Any) -> dict[str, Any]:
    """The body, which has to be `params` and nothing else; the client's types have a devbox of the path among them."""
    body = await request.body()
    found: Any = json.loads(body) if body else {}
    if "devbox_id" in get_type_hints(params):
        found["devbox_id"] = request.path_params["id"]
    _require_known(found, params, "")
    try:
        TypeAdapter(params).validate_python(found)
    except ValidationError as failure:
        raise Refused(400, str(failure)) from failure
    return dict(found)


def _require_known(found: dict[str, Any], params: Any, where: str) -> None:
    hints = get_type_hints(params)
    unknown = found.keys() - hints.keys()
    if unknown:
        raise Refused(400, f"unknown fields {sorted(unknown)} in {where or 'the body'}")
    for name, value in found.items():
        for kind in (hints[name], *getattr(hints[name], "__args__", ())):
            if isinstance(value, dict) and is_typeddict(kind):
                _require_known(value, kind, name)


def shown(model: BaseModel, status: int = 200) -> Response:
    return JSONResponse(model.model_dump(mode="json", exclude_none=True), status)


def error(status: int, message: str) -> Response:
    return JSONResponse({"code": f"{status}", "message": message}, status)


def require_launch(launch: dict[str, Any]) -> None:
    """The rules of launch parameters, as the client's documentation tells them."""
    seconds = launch.get("keep_alive_time_seconds")
    if seconds is not None and not 0 < seconds <= MAX_KEEP_ALIVE_S:
        raise Refused(400, f"keep_alive_time_seconds is at most {MAX_KEEP_ALIVE_S}")
    if seconds is not None and (launch.get("lifecycle") or {}).get("after_idle"):
        raise Refused(400, "either keep_alive_time_seconds or an idle policy")
    if launch.get("resource_size_request") != "CUSTOM_SIZE":
        if any(name.startswith("custom_") for name in launch):
            raise Refused(400, "custom sizes need resource_size_request CUSTOM_SIZE")
        return
    cpu, memory, disk = launch["custom_cpu_cores"], launch["custom_gb_memory"], launch.get("custom_disk_size", 4)
    if cpu not in (0.5, 1) and (cpu % 2 or not 0 < cpu <= 16):
        raise Refused(400, "custom_cpu_cores is 0.5, 1 or a multiple of 2 up to 16")
    if memory != 1 and (memory % 2 or not 0 < memory <= 64):
        raise Refused(400, "custom_gb_memory is 1 or a multiple of 2 up to 64")
    if disk % 2 or not 2 <= disk <= 64:
        raise Refused(400, "custom_disk_size is a multiple of 2 from 2 to 64")
    if not 2 <= memory / cpu <= 8:
        raise Refused(400, "memory per core is between 2 and 8 GiB")


def devbox(box: Box, asked: dict[str, Any], status: str, extra: dict[str, Any]) -> DevboxView:
    return DevboxView(
        id=box.id,
        capabilities=[],
        create_time_ms=int(box.created_at * 1000),
        launch_parameters=LaunchParameters.model_validate(asked.get("launch_parameters") or {}),
        metadata=box.labels,
        state_transitions=[],
        status=status,  # type: ignore[arg-type]
        name=asked.get("name"),
        snapshot_id=asked.get("snapshot_id"),
        **extra,
    )
