"""Reserve before, settle with the truth after: all or nothing over all scopes.

    reservation = reserve(scopes, {"concurrent_sandboxes": 1, "sandbox_ms": 60_000}, holder=key)
    ...
    settle(reservation.uuid, {"sandbox_ms": took_ms})

Whoever holds a reservation renews it; one whose lease ran out is given back by who knows what it was for
(`runs.services.quota_boxes`). What needs no reservation is counted with `record_use`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from rlmweb.quotas.booking import Amount, Crossed, Entry, book
from rlmweb.quotas.models import LedgerEntry, Reservation
from rlmweb.quotas.scopes import Scope, by_kind
from rlmweb.quotas.warnings import warn

LEASE_S = 45.0
"""How long what nobody renews is held. A worker's death shows after this; with the round that looks, within 60 s."""
Kind = LedgerEntry.Kind


def reserve(
    scopes: Iterable[Scope],
    amounts: Mapping[str, int],
    *,
    holder: str,
    session: UUID | None = None,
    lease_s: float = LEASE_S,
    price_version: str = "",
) -> Reservation:
    """Hold `amounts` in all `scopes`, or in none. A holder who has an open reservation gets that one, renewed.

    Raises `QuotaExceeded`.
    """
    uuids = by_kind(scopes)
    while True:
        found = Reservation.objects.filter(holder=holder, state=Reservation.State.OPEN).first()
        if found is not None:
            renew([found.uuid], lease_s=lease_s)
            return found
        try:
            return _reserve_new(uuids, amounts, holder, session, lease_s, price_version)
        except IntegrityError:
            # The same holder was quicker in another process: take what it got.
            if not Reservation.objects.filter(holder=holder, state=Reservation.State.OPEN).exists():
                raise


def _reserve_new(
    uuids: dict[str, UUID],
    amounts: Mapping[str, int],
    holder: str,
    session: UUID | None,
    lease_s: float,
    price_version: str,
) -> Reservation:
    uuid, day = uuid4(), timezone.now().date()
    with transaction.atomic():
        row = Reservation.objects.create(
            uuid=uuid,
            holder=holder,
            session_uuid=session,
            scopes={kind: str(found) for kind, found in uuids.items()},
            holds=dict(amounts),
            day=day,
            price_version=price_version,
            lease_expires_at=Now() + timedelta(seconds=lease_s),
        )
        held = {name: Amount(reserved=amount) for name, amount in amounts.items()}
        told = book(scopes_in(row.scopes), held, Entry(Kind.RESERVE, uuid, day, session, price_version), strict=True)
        _tell(told)
    return row


def hold_more(uuid: UUID, amounts: Mapping[str, int], *, strict: bool) -> bool:
    """Add to what an open reservation holds. False when it is not open any more. Raises `QuotaExceeded` if `strict`."""
    with transaction.atomic():
        row = Reservation.objects.select_for_update().filter(uuid=uuid, state=Reservation.State.OPEN).first()
        if row is None:
            return False
        row.holds = {name: row.holds.get(name, 0) + amounts.get(name, 0) for name in {*row.holds, *amounts}}
        row.save(update_fields=["holds"])
        more = {name: Amount(reserved=amount) for name, amount in amounts.items()}
        _tell(book(scopes_in(row.scopes), more, _entry(Kind.RESERVE, row), strict=strict))
    return True


def renew(uuids: Iterable[UUID], *, lease_s: float = LEASE_S) -> int:
    """Say that these are still wanted. Returns how many were still open."""
    still = Reservation.objects.filter(uuid__in=list(uuids), state=Reservation.State.OPEN)
    return still.update(lease_expires_at=Now() + timedelta(seconds=lease_s))


def bind(uuid: UUID, record: UUID) -> bool:
    """What the reservation was for is there now, and known by `record`. False when it was given back meanwhile."""
    return bool(Reservation.objects.filter(uuid=uuid, state=Reservation.State.OPEN).update(bound_to=record))


def settle(uuid: UUID, used: Mapping[str, int]) -> bool:
    """Give back all that it holds and count what was really used, be it more than a limit allows.

    Once only: False when it was closed before.
    """
    return _close(uuid, Reservation.State.SETTLED, used)


def release(uuid: UUID) -> bool:
    """Give back all that it holds; nothing was used. Once only."""
    return _close(uuid, Reservation.State.RELEASED, {})


def record_use(
    scopes: Iterable[Scope],
    amounts: Mapping[str, int],
    *,
    session: UUID | None = None,
    reservation: UUID | None = None,
    strict: bool = True,
) -> None:
    """Count what is used at once, in the caller's transaction. Raises `QuotaExceeded` if `strict`, and books nothing."""
    entry = Entry(Kind.SETTLE, reservation or uuid4(), timezone.now().date(), session)
    _tell(book(scopes, {name: Amount(used=amount) for name, amount in amounts.items()}, entry, strict=strict))


def scopes_in(stored: Mapping[str, str]) -> tuple[Scope, ...]:
    """Of a stored kind -> uuid."""
    return tuple(Scope(kind, UUID(uuid)) for kind, uuid in stored.items())


def stored_scopes(scopes: Iterable[Scope]) -> dict[str, str]:
    return {kind: str(uuid) for kind, uuid in by_kind(scopes).items()}


def _close(uuid: UUID, state: str, used: Mapping[str, int]) -> bool:
    with transaction.atomic():
        open_one = Reservation.objects.filter(uuid=uuid, state=Reservation.State.OPEN)
        # The conditional UPDATE decides who closes it; whoever comes second finds nothing to do.
        if not open_one.update(state=state, closed_at=Now()):
            return False
        row = Reservation.objects.get(uuid=uuid)
        names = {*row.holds, *used}
        changes = {name: Amount(-row.holds.get(name, 0), used.get(name, 0)) for name in names}
        kind = Kind.SETTLE if state == Reservation.State.SETTLED else Kind.RELEASE
        _tell(book(scopes_in(row.scopes), changes, _entry(kind, row), strict=False))
    return True


def _entry(kind: str, row: Reservation) -> Entry:
    return Entry(kind, row.uuid, row.day, row.session_uuid, row.price_version)


def _tell(told: tuple[Crossed, ...]) -> None:
    for crossed in told:
        warn(crossed)
