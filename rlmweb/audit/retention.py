"""What may go, and what must not: purge of old segments, legal holds, and forgetting a person.

A purge takes entries from the old end of a chain up to a signed checkpoint and leaves their header, so that what stays
still follows from it. A hold beats both purge and erasure.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from rlmweb.audit.checkpoints import anchors_of
from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, AuditSegment, AuditSubject, LegalHold, StagedRead
from rlmweb.audit.record import Particulars, record
from rlmweb.audit.standalone import Unreadable
from rlmweb.teams.models import Organisation
from rlmweb.teams.policies.current import policy_of
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act, Facts
from rlmweb.teams.policies.profiles import HIPAA

log = logging.getLogger(__name__)


class Held(Exception):
    """A legal hold stands: release it first."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries that may go: the oldest of a chain up to a checkpoint."""

    first: AuditEntry
    last: AuditEntry
    entries: QuerySet[AuditEntry]


def purgeable(chain: UUID, before: datetime | None = None) -> Segment | None:
    """What `purge` would take now: up to the newest checkpoint older than `before` (by default: the days of retention),
    and than what the policy of the organisation keeps.

    None when nothing is old enough. Raises `Held`, and `standalone.Unreadable` for a sink that is not ours.
    """
    limit = _limit(chain, before)
    if _holds(chain=chain).exists():
        raise Held(Held.__doc__)
    entries = AuditEntry.objects.filter(chain=chain, seq__isnull=False)
    first = entries.order_by("seq").first()
    if first is None or first.recorded_at is None or first.recorded_at >= limit:
        return None
    sealed = [size for size in anchors_of(chain) if entries.filter(seq=size, recorded_at__lt=limit).exists()]
    if not sealed:
        return None
    last = entries.get(seq=max(sealed))
    going = entries.filter(seq__lte=last.seq)
    if _holds(subject_uuid__in=going.values("subject_uuid")).exists():
        raise Held(Held.__doc__)
    return Segment(first, last, going)


def purge(chain: UUID, *, actor: str, before: datetime | None = None) -> AuditSegment | None:
    """Let go of what is `purgeable`, and leave its header. None when that is nothing. Raises like `purgeable`, and
    `PolicyRefused` for a time that the policy of the organisation keeps."""
    if before is not None:
        _ask(chain, actor, before)
    with transaction.atomic():
        found = purgeable(chain, before)
        if found is None:
            return None
        first, last = found.first, found.last
        assert first.seq is not None, "Its number was asked for."
        assert last.seq is not None, "Its number was asked for."
        assert first.recorded_at is not None, "What has a number has a time."
        assert last.recorded_at is not None, "What has a number has a time."
        segment = AuditSegment.objects.create(
            chain=chain,
            first_seq=first.seq,
            last_seq=last.seq,
            prev_hash=first.prev_hash,
            last_hash=last.hash,
            first_at=first.recorded_at,
            last_at=last.recorded_at,
        )
        StagedRead.objects.filter(sealed_in__in=found.entries.values("uuid")).delete()
        found.entries._raw_delete(found.entries.db)
        _note("audit.purge", actor, chain, chain, {"first": first.seq, "last": last.seq})
    return segment


def purge_due() -> int:
    """What is past its days, of every chain; how many chains lost something. A periodic job."""
    purged = 0
    for chain in AuditEntry.objects.values_list("chain", flat=True).distinct():
        try:
            purged += purge(chain, actor="system") is not None
        except Held:
            continue
        except Unreadable as error:
            log.error("the audit chain %s was not purged: %s", chain, error)
    return purged


@transaction.atomic
def place_hold(*, actor: str, reason: str, chain: UUID | None = None, subject_uuid: UUID | None = None) -> LegalHold:
    """On a chain, or on a person wherever they acted."""
    hold = LegalHold.objects.create(reason=reason, chain=chain, subject_uuid=subject_uuid)
    _note("audit.hold", actor, chain, hold.uuid, {"chain": chain, "subject": subject_uuid}, reason)
    return hold


@transaction.atomic
def release_hold(hold: LegalHold, *, actor: str, reason: str) -> None:
    LegalHold.objects.filter(pk=hold.pk, released_at__isnull=True).update(released_at=timezone.now())
    _note("audit.release", actor, hold.chain, hold.uuid, {}, reason)


@transaction.atomic
def erase(subject: AuditSubject, *, actor: str, reason: str) -> None:
    """Destroy the person's key: name, address and browser can never be read again, and the chain stays whole.

    Raises `Held`. Backups made before still hold the key.
    """
    if _holds(subject_uuid=subject.uuid).exists():
        raise Held(Held.__doc__)
    AuditSubject.objects.filter(pk=subject.pk).update(name="", sealed_key=b"", erased_at=timezone.now())
    _note("audit.erase", actor, None, subject.uuid, {}, reason)


def _holds(**about: Any) -> QuerySet[LegalHold]:
    return LegalHold.objects.filter(released_at__isnull=True, **about)


def _note(
    action: str, actor: str, chain: UUID | None, object_id: UUID, details: dict[str, object], reason: str = ""
) -> None:
    record(
        action,
        actor=actor,
        object_type=action.replace(".", "-"),
        object_id=object_id,
        team_uuid=None if chain == INSTANCE_CHAIN else chain,
        source="cli",
        details=details,
        particulars=Particulars(reason=reason),
    )


def _limit(chain: UUID, before: datetime | None) -> datetime:
    """Nothing since then goes: by what was asked for, or the setting, and by the policy of the chain's organisation. One
    that cannot be read keeps for longest."""
    limit = before or timezone.now() - timedelta(days=settings.AUDIT_DAYS)
    organisation = Organisation.objects.filter(uuid=chain).first()
    if organisation is None:
        return limit
    days = (policy_of(organisation).rules or HIPAA).retention_days
    return min(limit, timezone.now() - timedelta(days=days)) if days else limit


def _ask(chain: UUID, actor: str, before: datetime) -> None:
    """Raises `PolicyRefused`."""
    organisation = Organisation.objects.filter(uuid=chain).first()
    if organisation is not None:
        keeps = max(0, round((timezone.now() - before) / timedelta(days=1)))
        require(
            Act.PURGE, Facts(organisation, actor, "cli", object_type="chain", object_id=str(chain), keeps_days=keeps)
        )
