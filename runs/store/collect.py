"""Collecting garbage: thin old sessions, then delete every content that no place names any more.

There is no mark phase whose result could be out of date. Contents are looked at in batches, those old enough are asked
for in the database, and what nobody uses is deleted at once. What a session is about to use is not on record yet;
whoever puts a content makes it young, and the store refuses to delete what became young since (`BlobStore.delete`).
So a content is safe while its writer takes no longer than the grace age from putting it to recording its use.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice

from django.db import connection
from django.db.models import Exists, OuterRef
from django.utils import timezone

from runs.blobs import BlobStore, Kept, blob_store
from runs.models import Blob, BlobUse
from runs.store.leftovers import remove_context_copies, remove_uploads
from runs.store.policy import Policy, sessions_to_thin
from runs.store.report import Report
from runs.store.thinning import thin
from runs.store.usage import used_among

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 1_000
LOCK = 0x72_6C_6D_67
"""Of PostgreSQL's advisory locks: one collection at a time."""


class AlreadyCollecting(Exception):
    """Another process collects garbage now. Try again when it is done."""


def collect(
    policy: Policy, *, dry_run: bool, now: datetime | None = None, progress: Callable[[Report], None] | None = None
) -> Report:
    """Apply `policy` as of `now`. `dry_run` changes nothing and reports what would be. Raises `AlreadyCollecting`."""
    now = now or timezone.now()
    with _alone():
        collection = _Collection(policy, blob_store(), dry_run, now, progress or (lambda report: None))
        collection.thin()
        collection.sweep()
        report = collection.report
        report.context_copies = remove_context_copies(policy.unused_before(now), dry_run=dry_run)
        report.uploads = remove_uploads(dry_run=dry_run)
    logger.info("collected", extra={"dry_run": dry_run, "contents": report.freed.count, "snapshots": report.snapshots})
    return report


class _Collection:
    def __init__(
        self, policy: Policy, store: BlobStore, dry_run: bool, now: datetime, progress: Callable[[Report], None]
    ) -> None:
        self.report = Report()
        self._policy = policy
        self._store = store
        self._dry_run = dry_run
        self._now = now
        self._progress = progress
        # What a dry run would have changed, so that the sweep can tell what would be unused.
        self._given_up: Counter[str] = Counter()
        self._without: list[int] = []

    def thin(self) -> None:
        """Each session in a transaction of its own."""
        for session_pk in list(sessions_to_thin(self._policy, self._now).values_list("pk", flat=True)):
            thinned = thin(session_pk, self._policy, self._store, dry_run=self._dry_run, now=self._now)
            self.report.sessions += bool(thinned.snapshots)
            self.report.snapshots += len(thinned.snapshots)
            if thinned.problem:
                self.report.note_problem(thinned.problem)
            if self._dry_run:
                self._given_up.update(thinned.contents)
                self._without += thinned.snapshots
            self._progress(self.report)

    def sweep(self) -> None:
        before = self._policy.unused_before(self._now)
        contents = self._store.iterate()
        while batch := list(islice(contents, BATCH_CONTENTS)):
            self._sweep(batch, before)
            self._progress(self.report)

    def _sweep(self, batch: Sequence[Kept], before: datetime) -> None:
        used = used_among((each.sha256 for each in batch), given_up=self._given_up, without=self._without)
        old = {each.sha256 for each in batch if each.sha256 not in used and each.modified_at <= before}
        freed = old if self._dry_run else self._store.delete_many(old, unless_newer_than=before)
        for each in batch:
            amount = self.report.used if each.sha256 in used else self.report.young
            (self.report.freed if each.sha256 in freed else amount).add(each.stored_bytes)
        if not self._dry_run:
            _forget(freed)


def _forget(names: Collection[str]) -> None:
    """Rows of contents that are gone, unless somebody put one of them again and uses it."""
    uses = BlobUse.objects.filter(sha256=OuterRef("sha256"))
    Blob.objects.filter(sha256__in=names).exclude(Exists(uses)).delete()


@contextmanager
def _alone() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        row = cursor.fetchone()
    if row is None or not row[0]:
        raise AlreadyCollecting("Garbage is being collected already. Look again when that is done.")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
