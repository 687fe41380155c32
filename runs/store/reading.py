"""What the store holds, as the database knows it: what lies on disk is counted by collections only."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Sum
from django.db.models.functions import Coalesce

from runs.models import Blob, Context, StoreRun
from sandboxes.models import Snapshot


@dataclass(frozen=True, slots=True)
class Holding:
    """One kind of what is kept. `stored_bytes` is compressed, and 0 where that is not on record."""

    name: str
    count: int
    size_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Holdings:
    kinds: list[Holding]
    last: StoreRun | None
    last_dry_run: StoreRun | None


def holdings() -> Holdings:
    runs = StoreRun.objects.order_by("-pk")
    return Holdings(
        kinds=[_contexts(), _of_sessions(), _snapshots()],
        last=runs.filter(dry_run=False).first(),
        last_dry_run=runs.filter(dry_run=True).first(),
    )


def _contexts() -> Holding:
    """Equal contexts are one content."""
    distinct = Context.objects.order_by("sha256").distinct("sha256").values("pk")
    found = Context.objects.filter(pk__in=distinct).aggregate(n=Count("pk"), size=Coalesce(Sum("size_bytes"), 0))
    return Holding("contexts", found["n"], found["size"], 0)


def _snapshots() -> Holding:
    """Of the contents of sessions, what each snapshot added: what it shares with earlier ones is counted there."""
    kept = Snapshot.objects.filter(collected_at=None)
    found = kept.aggregate(n=Count("pk"), stored=Coalesce(Sum("stored_bytes"), 0), size=Coalesce(Sum("size_bytes"), 0))
    return Holding("snapshots", found["n"], found["size"], found["stored"])


def _of_sessions() -> Holding:
    """All contents that sessions brought: long texts of events, prompts, answers, and those of snapshots. Contents that
    are a context as well count there."""
    contexts = Context.objects.filter(sha256=OuterRef("sha256"))
    found = Blob.objects.exclude(Exists(contexts)).aggregate(
        n=Count("pk"), stored=Coalesce(Sum("stored_bytes"), 0), size=Coalesce(Sum("size_bytes"), 0)
    )
    return Holding("sessions", found["n"], found["size"], found["stored"])
