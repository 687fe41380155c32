"""One transaction of a session: its events, its counters and its rows commit together.

Every change of a session's tree goes through `session_transaction`. It takes the lock of the session's meter first, so
changes of one session follow one another, commit order is `seq` order, and there is one lock order and no deadlock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import transaction

from rlmweb.quotas.batch import Batch
from runs.blobs import BlobStore, Stored, blob_store
from runs.events import record
from runs.events.types import Event
from runs.models import Session, SessionMeter
from runs.services import rows
from runs.services.quota_scopes import scopes_of_session
from runs.stream.doorbell import ring


class SessionTransaction:
    """What one transaction writes. `meter` may be changed in place; it is saved at the end."""

    def __init__(self, session: Session, meter: SessionMeter, store: BlobStore) -> None:
        self.session = session
        self.meter = meter
        self.store = store
        self.booked = Batch()
        """What this transaction changes of the quotas' balances."""
        self._meter_before = rows.meter_values(meter)
        self._events: list[record.Prepared] = []
        self._blobs: list[Stored] = []

    def emit(self, *events: Event) -> None:
        self._events.extend(record.prepare(event, self.store) for event in events)

    def emit_prepared(self, events: Sequence[record.Prepared]) -> None:
        """Events that were prepared before the transaction, to keep its lock short."""
        self._events.extend(events)

    def emitted(self, type: str) -> list[record.Prepared]:
        """Events of this type that this transaction will insert."""
        return [event for event in self._events if event.type == type]

    def keep(self, stored: Stored) -> None:
        """The session uses this content of the blob store."""
        self._blobs.append(stored)

    def write_booked(self) -> None:
        """Change the quotas' balances as was collected in `booked`."""
        if self.booked:
            self.booked.write(scopes_of_session(self.session), self.session.uuid)

    def flush(self) -> None:
        self.store.settle()  # the record names contents from now on
        if self._blobs:
            record.note_blobs(self.session.pk, self._blobs)
        if self._events:
            record.insert(self.session.pk, self.meter.last_seq + 1, self._events)
            self.meter.last_seq += len(self._events)
        rows.save_meter(self.meter, self._meter_before)
        # Last: all sessions meet at the installation's rows, which are locked from here to the commit.
        self.write_booked()
        if self._events:
            uuid, last_seq = self.session.uuid, self.meter.last_seq
            transaction.on_commit(lambda: ring(uuid, last_seq))


@contextmanager
def session_transaction(session: Session) -> Iterator[SessionTransaction]:
    """Open the transaction of `session`, holding its meter's lock until the end."""
    with transaction.atomic():
        changes = SessionTransaction(session, rows.lock_meter(session.pk), blob_store())
        yield changes
        changes.flush()
