"""What is kept, over the API: pins, and what the store holds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from runs.access import actor_of, require_staff, session_for
from runs.api.schemas import Problem
from runs.api.snapshots import NodeNumber, SnapshotOut
from runs.models import StoreRun
from runs.store.pins import pin_session, pin_snapshot
from runs.store.policy import policy_of_installation
from runs.store.reading import Holdings, holdings
from runs.store.running import ask_for_run

Days = Annotated[float, Field(ge=0, le=36_500)]
router = Router(tags=["store"])


class Pin(Schema):
    pinned: bool


class AmountOut(Schema):
    count: int
    size_bytes: int
    stored_bytes: int


class StoreRunOut(Schema):
    """`report`: `snapshots` of `sessions` given up; `freed`, `young` (unused, too young) and `used` contents,
    `context_copies` and `uploads`, each `count` and `size_bytes`. Empty until it is over."""

    uuid: UUID
    dry_run: bool
    status: str
    policy: dict[str, Any]
    report: dict[str, Any]
    error_message: str
    created_at: datetime
    finished_at: datetime | None


class StoreOut(Schema):
    holds: dict[str, AmountOut]
    policy: dict[str, Any]
    last: StoreRunOut | None
    """The last collection that changed something."""
    last_dry_run: StoreRunOut | None

    @staticmethod
    def of(found: Holdings) -> StoreOut:
        return StoreOut(
            holds={each.name: AmountOut.from_orm(each) for each in found.kinds},
            policy=policy_of_installation().to_plain(),
            last=StoreRunOut.from_orm(found.last) if found.last is not None else None,
            last_dry_run=StoreRunOut.from_orm(found.last_dry_run) if found.last_dry_run is not None else None,
        )


class Collection(Schema):
    """`older_than_days`: age of the snapshots to give up; null: as the settings have it."""

    dry_run: bool = True
    older_than_days: Days | None = None


@router.put("/sessions/{uuid}/pin", response={200: Pin, 404: Problem})
def set_session_pin(request: HttpRequest, uuid: UUID, body: Pin) -> Pin:
    """A pinned session keeps all of its snapshots and cannot be deleted. Idempotent."""
    pin_session(session_for(request.user, uuid, "pin"), actor=actor_of(request.user, "api"), pinned=body.pinned)
    return body


@router.put(
    "/sessions/{uuid}/nodes/{node}/steps/{step}/snapshot/pin",
    response={200: SnapshotOut, 404: Problem, 409: Problem, 422: Problem},
)
def set_snapshot_pin(request: HttpRequest, uuid: UUID, node: NodeNumber, step: NodeNumber, body: Pin) -> SnapshotOut:
    """A pinned snapshot is never given up. Idempotent."""
    session = session_for(request.user, uuid, "pin")
    return SnapshotOut.of(
        pin_snapshot(session, node, step, actor=actor_of(request.user, "api"), pinned=body.pinned), node
    )


@router.get("/store", response={200: StoreOut, 404: Problem})
def get_store(request: HttpRequest) -> StoreOut:
    """What the store holds and what was collected last. For the staff of the installation."""
    require_staff(request.user)
    return StoreOut.of(holdings())


@router.post("/store/collections", response={202: StoreRunOut, 404: Problem})
def collect_store(request: HttpRequest, body: Collection) -> Status[StoreRunOut]:
    """Have a worker collect garbage, or only say what would go. For the staff of the installation."""
    require_staff(request.user)
    policy = policy_of_installation(older_than_days=body.older_than_days)
    run: StoreRun = ask_for_run(policy, dry_run=body.dry_run, actor=actor_of(request.user, "api"))
    return Status(202, StoreRunOut.from_orm(run))
