"""Is a chain what was written? Recomputes every hash and compares every column with the text that was hashed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from rlmweb.audit.models import AuditSegment, AuditSubject, ChainHead
from rlmweb.audit.reads import broken_seal
from rlmweb.audit.standalone import GENESIS, entry_hash
from rlmweb.audit.subjects import Opener, Unreadable

FETCH_ROWS = 5000
PURGE = "audit.purge"
SEAL = "reads.seal"
COLUMNS = ("uuid", "at", "team_uuid", "subject_uuid", "action", "outcome", "object_type", "object_id", "source")
"""Repeated beside the body, in this order."""
_columns_of = itemgetter(*COLUMNS)

_ROWS = """
SELECT seq, (extract(epoch FROM recorded_at) * 1000000)::bigint, prev_hash, hash, body, uuid::text,
  to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), team_uuid::text, subject_uuid::text,
  action::text, outcome::text, object_type::text, object_id::text, source::text
FROM audit_auditentry WHERE chain = %s ORDER BY seq NULLS LAST, id
"""


class State(Enum):
    INTACT = 0
    TAMPERED = 1
    INCOMPLETE = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """`first_bad_seq` and `why` say what is wrong; `anchors` how many signed checkpoints were compared."""

    chain: UUID
    state: State
    entries: int = 0
    first_bad_seq: int | None = None
    why: str = ""
    anchors: int = 0
    duration_s: float = 0.0

    @property
    def intact(self) -> bool:
        return self.state is State.INTACT


class _Bad(Exception):
    def __init__(self, seq: int, why: str) -> None:
        super().__init__(why)
        self.seq = seq
        self.why = why


class Walk:
    """Follows one chain entry by entry. `anchors`: size -> the hash that a signed checkpoint states."""

    def __init__(self, chain: UUID, anchors: Mapping[int, bytes]) -> None:
        self.chain = chain
        self.anchors = anchors
        self.segments = {each.first_seq: each for each in AuditSegment.objects.filter(chain=chain)}
        self.keys = {
            str(who): bytes(key) for who, key in AuditSubject.objects.values_list("uuid", "sealed_key").iterator()
        }
        self.seq, self.last, self.entries, self.compared = 0, GENESIS, 0, 0
        self.openers: dict[str, Opener] = {}
        self.seals: dict[str, tuple[int, str, int]] = {}
        self.skipped: set[tuple[int, int]] = set()
        self.purges: set[tuple[int, int]] = set()

    def skip_purged(self) -> None:
        """Raises `_Bad` when a header does not follow from what stands before it."""
        while (segment := self.segments.pop(self.seq + 1, None)) is not None:
            if bytes(segment.prev_hash) != self.last:
                raise _Bad(segment.first_seq, "the header of purged entries does not follow")
            self.skipped.add((segment.first_seq, segment.last_seq))
            self.seq, self.last = segment.last_seq, bytes(segment.last_hash)
            self._compare_anchor()

    def take(self, row: tuple[Any, ...]) -> None:
        """Raises `_Bad`."""
        seq, recorded_us, prev, stated, body = row[:5]
        if seq is None or recorded_us is None or prev is None or stated is None:
            raise _Bad(self.seq + 1, "an entry without a number")
        if seq != self.seq + 1:
            self.skip_purged()
        if seq != self.seq + 1:
            raise _Bad(self.seq + 1, f"entry {seq} stands where {self.seq + 1} belongs")
        if prev != self.last:
            raise _Bad(seq, "does not follow from the entry before it")
        if entry_hash(self.chain.bytes, seq, recorded_us, prev, body.encode()) != stated:
            raise _Bad(seq, "is not what its hash was made of")
        self._compare_columns(seq, row, body)
        self.seq, self.last = seq, stated
        self.entries += 1
        self._compare_anchor()

    def end(self, head: ChainHead | None) -> None:
        """Raises `_Bad` when something is missing after the last entry."""
        self.skip_purged()
        if self.segments:
            raise _Bad(min(self.segments), "a header of purged entries stands where none belongs")
        unrecorded = self.skipped - self.purges
        if unrecorded:
            # Whoever can write a header could otherwise hide entries behind one.
            raise _Bad(min(unrecorded)[0], "entries are gone that no recorded purge removed")
        size, last = (head.size, bytes(head.hash)) if head is not None else (0, GENESIS)
        if size != self.seq:
            raise _Bad(min(size, self.seq) + 1, f"the head counts {size} entries and there are {self.seq}")
        if last != self.last:
            raise _Bad(self.seq, "the head does not fit the last entry")
        beyond = [each for each in self.anchors if each > self.seq]
        if beyond:
            raise _Bad(self.seq + 1, f"a signed checkpoint knows {max(beyond)} entries and there are {self.seq}")

    def compare_reads(self) -> None:
        """Raises `_Bad` when reads are missing or altered that an entry sealed."""
        broken = broken_seal(self.seals) if self.seals else None
        if broken is not None:
            raise _Bad(broken, "the reads that it sealed are not those that are there")

    def _compare_columns(self, seq: int, row: tuple[Any, ...], body: str) -> None:
        document = orjson.loads(body)
        action, details = document["action"], document["details"]
        if action == PURGE:
            self.purges.add((details["first"], details["last"]))
        elif action == SEAL:
            self.seals[document["uuid"]] = (seq, details["root"], details["leaves"])
        if _columns_of(document) != row[5:]:
            raise _Bad(seq, "a column differs from what was recorded")
        # Entries of the first schema do not name their chain: it was the team's own.
        if document.get("chain", document["team_uuid"] or str(self.chain)) != str(self.chain):
            raise _Bad(seq, "belongs to another chain")
        try:
            self._opener(seq, document["subject_uuid"]).plain(document["personal"])
        except Unreadable as error:
            raise _Bad(seq, "the key of its person is not the one it was recorded under") from error

    def _opener(self, seq: int, who: str) -> Opener:
        found = self.openers.get(who)
        if found is None:
            if who not in self.keys:
                raise _Bad(seq, "its person is missing")
            found = self.openers[who] = Opener(self.keys[who], who)
        return found

    def _compare_anchor(self) -> None:
        if self.seq in self.anchors:
            if self.anchors[self.seq] != self.last:
                raise _Bad(self.seq, "differs from its signed checkpoint")
            self.compared += 1


def verify(chain: UUID, anchors: Mapping[int, bytes] | None = None) -> Verdict:
    """One statement's view of the chain: what is appended meanwhile is left for the next time."""
    began = time.monotonic()
    with transaction.atomic():
        with connection.cursor() as cursor:
            if not connection.in_atomic_block or len(connection.savepoint_ids) == 0:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        walk = Walk(chain, anchors or {})
        head = ChainHead.objects.filter(chain=chain).first()
        try:
            for row in _rows(chain):
                walk.take(row)
            walk.end(head)
            walk.compare_reads()
        except _Bad as bad:
            return Verdict(
                chain, State.TAMPERED, walk.entries, bad.seq, bad.why, walk.compared, time.monotonic() - began
            )
    state, why = (State.INTACT, "") if walk.seq else (State.INCOMPLETE, "the chain has no entries")
    return Verdict(chain, state, walk.entries, None, why, walk.compared, time.monotonic() - began)


def _rows(chain: UUID) -> Iterator[tuple[Any, ...]]:
    with connection.connection.cursor(name="audit_verify", binary=True) as cursor:
        cursor.execute(_ROWS, [chain])
        # Row by row the cursor would cost a call of Python more for each.
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield from rows


def chains() -> list[UUID]:
    return list(ChainHead.objects.order_by("chain").values_list("chain", flat=True))
