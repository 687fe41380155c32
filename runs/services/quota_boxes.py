"""Sandboxes and quotas: a slot and time are held from before a sandbox is made until it is known to be gone.

The time that a sandbox will take is not known, so it is held a slice at a time, always ahead of what has passed; what it
really took is settled at its end. Leases are renewed here for what is in use, and given back for what nobody holds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from uuid import UUID, uuid4

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from rlmweb.quotas.models import Reservation
from rlmweb.quotas.resources import gpu_resource
from rlmweb.quotas.services import LEASE_S, hold_more, release, renew, reserve, settle
from runs.models import Node, Session, Step
from runs.services.quota_scopes import scopes_of_session
from sandboxes import services as sandbox_services
from sandboxes.contract import Spec
from sandboxes.models import SandboxRecord

logger = logging.getLogger(__name__)

SLICE_MS = 60_000
AHEAD_MS = 20_000
"""Another slice is held when less than this is left of the last."""
OF_NODE = "node:"
BATCH = 500
ASK_AT_ONCE = 50
"""Providers are asked together and briefly: other jobs of the same clock wait meanwhile."""


def reserve_box(node: Node, spec: Spec) -> UUID:
    """A slot and the first slice for the sandbox that the node is about to get. Raises `QuotaExceeded`."""
    return _reserve(node.session, spec, holder_of(node), LEASE_S)


def holder_of(node: Node) -> str:
    """The same for every worker that tries to make this sandbox."""
    return f"{OF_NODE}{node.uuid}:{node.sandbox_generation}"


def reserve_scratch(session: Session, spec: Spec) -> UUID:
    """The same for a sandbox beside the nodes. Release or bind it. Raises `QuotaExceeded`."""
    return _reserve(session, spec, f"scratch:{uuid4()}", sandbox_services.CREATE_TIMEOUT_S + LEASE_S)


def _reserve(session: Session, spec: Spec, holder: str, lease_s: float) -> UUID:
    amounts = {"concurrent_sandboxes": 1, "sandbox_ms": SLICE_MS}
    if spec.gpu is not None:
        amounts[gpu_resource(spec.gpu.types[0])] = SLICE_MS * spec.gpu.count
    scopes = scopes_of_session(session)
    return reserve(scopes, amounts, holder=holder, session=session.uuid, lease_s=lease_s).uuid


def settle_boxes(records: Iterable[SandboxRecord]) -> int:
    """These sandboxes are gone: give back what they held and count what they took. Returns how many were settled."""
    found = {record.uuid: record for record in records}
    open_ones = Reservation.objects.filter(bound_to__in=list(found), state=Reservation.State.OPEN)
    settled = 0
    for row in open_ones:
        assert row.bound_to is not None
        settled += settle(row.uuid, _took(found[row.bound_to]))
    return settled


def settle_box_of(ref: str) -> int:
    """As `settle_boxes`, for the sandbox of this reference."""
    return settle_boxes(SandboxRecord.objects.filter(ref=ref))


def keep_reservations() -> dict[str, int]:
    """One round: renew what is in use, settle what is gone, release what nobody came back for. A periodic job."""
    return {"renewed": _renew_running(), "settled": _settle_ended(), "released": _release_left()}


def _renew_running() -> int:
    """Of running sandboxes, and of those that a living worker is about to make."""
    rows = _open(SandboxRecord.State.RUNNING)
    for row, record in rows:
        _hold_ahead(row, record)
    return renew([*(row.uuid for row, _ in rows), *_being_made()])


def _being_made() -> list[UUID]:
    """Making one may take longer than a lease; the step's own lease says whether its worker lives."""
    unbound = list(
        Reservation.objects.filter(state=Reservation.State.OPEN, bound_to=None, holder__startswith=OF_NODE)[:BATCH]
    )
    nodes = {node_of(row.holder) for row in unbound}
    alive = Step.objects.filter(status=Step.Status.RUNNING, lease_expires_at__gt=Now(), node__uuid__in=nodes)
    living = set(alive.values_list("node__uuid", flat=True))
    return [row.uuid for row in unbound if node_of(row.holder) in living]


def _settle_ended() -> int:
    """Sandboxes that nobody wants any more, when their provider says that they are gone or their lease is over."""
    ended = [*_open(SandboxRecord.State.TERMINATED), *_open(SandboxRecord.State.LOST)]
    over = [record for row, record in ended if row.lease_expires_at < timezone.now()]
    asked = [record for row, record in ended if row.lease_expires_at >= timezone.now()][:ASK_AT_ONCE]
    gone = sandbox_services.gone_among(record.ref for record in asked)
    return settle_boxes(over + [record for record in asked if record.ref in gone])


def _release_left() -> int:
    """Whoever reserved died before there was a sandbox, or its record was deleted."""
    left = Reservation.objects.filter(state=Reservation.State.OPEN, lease_expires_at__lt=Now())
    bound = SandboxRecord.objects.filter(uuid=OuterRef("bound_to"))
    return sum(release(row.uuid) for row in left.filter(~Exists(bound))[:BATCH])


def _open(state: str) -> list[tuple[Reservation, SandboxRecord]]:
    """Open reservations whose sandbox is in this state."""
    bound = Reservation.objects.filter(state=Reservation.State.OPEN).exclude(bound_to=None)
    rows = {row.bound_to: row for row in bound}
    records = SandboxRecord.objects.filter(uuid__in=list(rows), state=state)
    return [(rows[record.uuid], record) for record in records]


def _hold_ahead(row: Reservation, record: SandboxRecord) -> None:
    """Not strict: the sandbox runs, and what it takes is taken. New steps are refused meanwhile."""
    took = _took(record)
    if row.holds.get("sandbox_ms", 0) - took["sandbox_ms"] < AHEAD_MS:
        more = {
            name: took_ms + SLICE_MS * _times(record, name) - row.holds.get(name, 0) for name, took_ms in took.items()
        }
        hold_more(row.uuid, more, strict=False)


def _took(record: SandboxRecord) -> dict[str, int]:
    """Milliseconds of the sandbox and of its GPUs together, until now or until its end."""
    ms = max(0, int(((record.ended_at or timezone.now()) - record.created_at).total_seconds() * 1000))
    took = {"sandbox_ms": ms}
    if record.gpu:
        took[gpu_resource(record.gpu)] = ms * record.gpu_count
    return took


def _times(record: SandboxRecord, name: str) -> int:
    return 1 if name == "sandbox_ms" else record.gpu_count


def node_of(holder: str) -> UUID:
    """The node of a holder as `holder_of` names it."""
    return UUID(holder.removeprefix(OF_NODE).split(":")[0])
