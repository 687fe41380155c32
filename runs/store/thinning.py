"""Giving up snapshots of one session, and the contents that it needs no more."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from runs.blobs import BlobError, BlobStore
from runs.models import BlobUse, Session
from runs.services.giving_up import giving_up_of
from runs.store.policy import Policy, sessions_to_thin, to_give_up
from runs.store.usage import needed_by
from sandboxes.manifest import ManifestError
from sandboxes.models import Snapshot

logger = logging.getLogger(__name__)

BATCH_ROWS = 5_000


@dataclass(slots=True)
class Thinned:
    """`snapshots`: keys of those given up. `contents`: what the session used and needs no more."""

    snapshots: list[int] = field(default_factory=list)
    contents: set[str] = field(default_factory=set)
    problem: str = ""


def thin(session_pk: int, policy: Policy, store: BlobStore, *, dry_run: bool, now: datetime) -> Thinned:
    """Apply the policy to one session; nothing happens when it runs, is pinned or gone by now.

    A session with a snapshot that cannot be read keeps everything: nobody knows what that one needs.
    """
    with transaction.atomic():
        giving_up_of(session_pk)
        session = sessions_to_thin(policy, now).select_related("context").filter(pk=session_pk).first()
        if session is None:
            return Thinned()
        old = list(to_give_up(policy, now).filter(session_uuid=session.uuid).values_list("pk", flat=True))
        try:
            needed = needed_by(session, store, without=old)
        except (BlobError, ManifestError) as error:
            logger.warning("a session's snapshots are kept: %s", error, extra={"session": str(session.uuid)})
            return Thinned(problem=f"{session.uuid}: {error}"[:300])
        unneeded = set(BlobUse.objects.filter(session=session).values_list("sha256", flat=True)) - needed
        if not dry_run:
            # `pinned` again: a snapshot is pinned without our lock, and its row decides.
            Snapshot.objects.filter(pk__in=old, pinned=False).update(collected_at=now)
            _stop_using(session, unneeded)
            Session.objects.filter(pk=session.pk).update(trimmed_at=now)
    return Thinned(old, unneeded)


def _stop_using(session: Session, names: set[str]) -> None:
    ordered = sorted(names)
    for start in range(0, len(ordered), BATCH_ROWS):
        BlobUse.objects.filter(session=session, sha256__in=ordered[start : start + BATCH_ROWS]).delete()
