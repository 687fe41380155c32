"""The retention policy: which snapshots are kept, and how long contents that nobody uses are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Mod

from runs.models import Node, Session
from sandboxes.models import Snapshot


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Snapshots of finished sessions are thinned when they are `snapshot_days` old: the last of each node and every
    `keep_every`-th step stay. Contents that nobody uses stay for `unused_hours`."""

    snapshot_days: float
    keep_every: int
    unused_hours: float

    def snapshots_before(self, now: datetime) -> datetime:
        return now - timedelta(days=self.snapshot_days)

    def unused_before(self, now: datetime) -> datetime:
        return now - timedelta(hours=self.unused_hours)

    def to_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def policy_of_installation(*, older_than_days: float | None = None) -> Policy:
    """As the settings have it; `older_than_days` instead of their age of snapshots."""
    return Policy(
        snapshot_days=settings.SNAPSHOT_DAYS if older_than_days is None else older_than_days,
        keep_every=settings.SNAPSHOT_KEEP_EVERY,
        unused_hours=settings.UNUSED_HOURS,
    )


def policy_from_plain(plain: object) -> Policy:
    return msgspec.convert(plain, Policy)


def sessions_to_thin(policy: Policy, now: datetime) -> QuerySet[Session]:
    """Sessions that are over and not pinned, and have snapshots to give up or were never reduced to what they need."""
    mine = to_give_up(policy, now).filter(session_uuid=OuterRef("uuid"))
    over = Session.objects.exclude(status=Session.Status.RUNNING).filter(pinned=False)
    ended_at = Coalesce("finished_at", "created_at")
    old = over.annotate(ended_at=ended_at).filter(ended_at__lt=policy.snapshots_before(now))
    return old.filter(Exists(mine) | Q(trimmed_at=None)).order_by("pk")


def to_give_up(policy: Policy, now: datetime) -> QuerySet[Snapshot]:
    """Snapshots that are old enough and none of those that stay. Says nothing of their sessions: see above.

    Never the last of a node, every k-th step, a pinned one, or one that a fork's node starts from.
    """
    kept = Snapshot.objects.filter(kind=Snapshot.Kind.PORTABLE, collected_at=None)
    later = kept.filter(node_uuid=OuterRef("node_uuid"), step_number__gt=OuterRef("step_number"))
    bases = Node.objects.filter(base_snapshot=OuterRef("uuid"))
    old = kept.filter(created_at__lt=policy.snapshots_before(now), pinned=False)
    thinned = old.annotate(every=Mod("step_number", policy.keep_every)).exclude(every=0)
    return thinned.filter(Exists(later)).exclude(Exists(bases))
