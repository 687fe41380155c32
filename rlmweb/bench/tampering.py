"""Ways to alter an audit log behind its back, as somebody could who administers the database.

Each one is done for real to a chain in PostgreSQL, with the triggers switched off, judged by the verifier, and rolled
back. The sealed checkpoint lies outside the database, where the administrator does not reach.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection, transaction

from rlmweb.audit.body import canonical
from rlmweb.audit.models import AuditEntry, AuditSubject, ChainHead
from rlmweb.audit.record import record
from rlmweb.audit.standalone import GENESIS, entry_hash
from rlmweb.audit.verify import verify

TEXTS = ("action", "outcome", "object_type", "object_id", "source", "body")
UUIDS = ("uuid", "chain", "team_uuid", "subject_uuid")
TIMES = ("at", "recorded_at")
HASHES = ("prev_hash", "hash")
MOST_ENTRIES = 15
TABLE = "audit_auditentry"


@dataclass(frozen=True)
class Log:
    """Two chains and what their checkpoints say."""

    chain: uuid.UUID
    other: uuid.UUID
    anchors: dict[uuid.UUID, dict[int, bytes]]
    size: int


def write_log(size: int) -> Log:
    """Both chains get `size` entries, committed, and a checkpoint at their end."""
    assert 2 <= size <= MOST_ENTRIES, "Trials are many and chains short."
    chain, other = uuid.uuid4(), uuid.uuid4()
    for number in range(size):
        for team in (chain, other):
            record(
                "session.stop",
                actor=("ada", "bob")[number % 2],
                object_type="session",
                object_id=uuid.uuid4(),
                team_uuid=team,
                details={"number": number, "text": "é=|\\"},
            )
    heads = {each: ChainHead.objects.get(chain=each) for each in (chain, other)}
    return Log(chain, other, {each: {head.size: bytes(head.hash)} for each, head in heads.items()}, size)


def is_found(log: Log, kind: str, chance: random.Random) -> bool:
    """Alter the log in this way, verify both chains, and put everything back."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
        KINDS[kind](log, chance)
        verdicts = [verify(each, log.anchors[each]) for each in (log.chain, log.other)]
        transaction.set_rollback(True)
    return not all(verdict.intact for verdict in verdicts)


def _sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        assert cursor.rowcount, f"nothing was altered by {statement}"


def _seq(log: Log, chance: random.Random) -> int:
    return chance.randint(1, log.size)


def _flip(column: str) -> Callable[[Log, random.Random], None]:
    def flip(log: Log, chance: random.Random) -> None:
        entry = AuditEntry.objects.get(chain=log.chain, seq=_seq(log, chance))
        value = _flipped(column, getattr(entry, column), chance)
        # The column's name comes from the lists above.
        _sql(f"UPDATE {TABLE} SET {column} = %s WHERE id = %s", value, entry.pk)  # noqa: S608

    return flip


def _flipped(column: str, value: Any, chance: random.Random) -> Any:
    if column in UUIDS:
        return uuid.UUID(int=value.int ^ 1 << chance.randrange(128))
    if column in TIMES:
        return value.replace(microsecond=(value.microsecond ^ 1 << chance.randrange(19)) % 1_000_000)
    if column in HASHES:
        raw = bytearray(value)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        return bytes(raw)
    if column == "seq":
        # A number that another entry has is refused by the table's constraint.
        return value ^ 1 << chance.randrange(MOST_ENTRIES.bit_length(), 31)
    place = chance.randrange(len(value))
    # The two lowest bits keep a printable letter printable.
    return value[:place] + chr(ord(value[place]) ^ 1 << chance.randrange(2)) + value[place + 1 :]


def _flip_head_size(log: Log, chance: random.Random) -> None:
    _sql("UPDATE audit_chainhead SET size = %s WHERE chain = %s", log.size ^ 1 << chance.randrange(31), log.chain)


def _flip_head_hash(log: Log, chance: random.Random) -> None:
    head = ChainHead.objects.get(chain=log.chain)
    _sql("UPDATE audit_chainhead SET hash = %s WHERE chain = %s", _flipped("hash", head.hash, chance), log.chain)


def _flip_key(log: Log, chance: random.Random) -> None:
    """Of a person that the chain names: the bits after the mark that says how the key is kept."""
    subject = chance.choice(list(AuditSubject.objects.filter(name__in=("ada", "bob"))))
    sealed = bytes(subject.sealed_key)
    value = sealed[:2] + _flipped("hash", sealed[2:], chance)
    _sql("UPDATE audit_auditsubject SET sealed_key = %s WHERE id = %s", value, subject.pk)


def _delete(log: Log, chance: random.Random) -> None:
    _sql(f"DELETE FROM {TABLE} WHERE chain = %s AND seq = %s", log.chain, _seq(log, chance))  # noqa: S608


def _insert(log: Log, chance: random.Random) -> None:
    """A forged entry in the middle, correctly hashed; the later ones are moved up by one."""
    at = _seq(log, chance)
    rows = _rows(log.chain)
    forged = AuditEntry.objects.get(pk=rows[at - 1].pk)
    forged.body = canonical({**forged.document, "object_id": "forged"})
    forged.object_id = "forged"
    _renumber_away(log.chain)
    forged.pk, forged.uuid, forged.seq = None, uuid.uuid4(), None
    AuditEntry.objects.bulk_create([forged])
    _rechain(log.chain, [*rows[:at], forged, *rows[at:]], rehash_from=at, until=at + 1)


def _swap(log: Log, chance: random.Random) -> None:
    """What two entries say; their numbers and hashes stay."""
    first, second = chance.sample(_rows(log.chain), 2)
    names = [*TEXTS, *(name for name in UUIDS if name not in ("uuid", "chain")), "at"]
    for target, source in ((first, second), (second, first)):
        settings = ", ".join(f"{name} = %s" for name in names)
        values = [getattr(source, name) for name in names]
        _sql(f"UPDATE {TABLE} SET {settings} WHERE id = %s", *values, target.pk)  # noqa: S608


def _duplicate(log: Log, chance: random.Random) -> None:
    """At the end, with a number and a hash that follow."""
    rows = _rows(log.chain)
    copy = AuditEntry.objects.get(pk=chance.choice(rows).pk)
    copy.pk, copy.uuid = None, uuid.uuid4()
    copy.seq, copy.prev_hash = log.size + 1, rows[-1].hash
    copy.hash = _hash(log.chain, copy)
    AuditEntry.objects.bulk_create([copy])
    _sql("UPDATE audit_chainhead SET size = %s, hash = %s WHERE chain = %s", copy.seq, copy.hash, log.chain)


def _cut_tail(log: Log, chance: random.Random) -> None:
    """The head is set back as well, so that the database agrees with itself."""
    _cut(log.chain, chance.randint(0, log.size - 1))


def _old_backup(log: Log, chance: random.Random) -> None:
    """The whole database as it was earlier."""
    _cut(log.chain, chance.randint(0, log.size - 1))
    _cut(log.other, chance.randint(0, log.size - 1))


def _cut(chain: uuid.UUID, size: int) -> None:
    last = AuditEntry.objects.get(chain=chain, seq=size).hash if size else GENESIS
    _sql(f"DELETE FROM {TABLE} WHERE chain = %s AND seq > %s", chain, size)  # noqa: S608
    _sql("UPDATE audit_chainhead SET size = %s, hash = %s WHERE chain = %s", size, last, chain)


def _move(log: Log, chance: random.Random) -> None:
    """To the end of another organisation's chain, hashed for it; the gap behind it is closed."""
    rows = _rows(log.chain)
    moved = rows.pop(_seq(log, chance) - 1)
    newest = ChainHead.objects.get(chain=log.other)
    moved.chain, moved.seq, moved.prev_hash = log.other, newest.size + 1, bytes(newest.hash)
    moved.hash = _hash(log.other, moved)
    _put(moved)
    _sql("UPDATE audit_chainhead SET size = %s, hash = %s WHERE chain = %s", moved.seq, moved.hash, log.other)
    _renumber_away(log.chain)
    _rechain(log.chain, rows, rehash_from=0, until=len(rows))


def _rewrite(log: Log, chance: random.Random) -> None:
    """One entry is altered, and every hash after it is made to fit, with the head."""
    rows = _rows(log.chain)
    target = chance.choice(rows)
    target.object_id = "rewritten"
    target.body = canonical({**orjson.loads(target.body), "object_id": "rewritten"})
    _sql(f"UPDATE {TABLE} SET object_id = %s, body = %s WHERE id = %s", "rewritten", target.body, target.pk)  # noqa: S608
    _renumber_away(log.chain)
    _rechain(log.chain, rows, rehash_from=0, until=len(rows))


def _rows(chain: uuid.UUID) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(chain=chain).order_by("seq"))


def _renumber_away(chain: uuid.UUID) -> None:
    """Makes room: two entries cannot have one number, not even for a moment."""
    _sql(f"UPDATE {TABLE} SET seq = -seq WHERE chain = %s", chain)  # noqa: S608


def _rechain(chain: uuid.UUID, rows: list[AuditEntry], *, rehash_from: int, until: int) -> None:
    """Number all, and make the hashes of some follow from what stands before them; the head fits the last."""
    last = GENESIS
    for place, row in enumerate(rows):
        row.seq = place + 1
        if rehash_from <= place < until:
            row.prev_hash = last
            row.hash = _hash(chain, row)
        _put(row)
        last = bytes(row.hash or b"")
    _sql("UPDATE audit_chainhead SET size = %s, hash = %s WHERE chain = %s", len(rows), last, chain)


def _put(row: AuditEntry) -> None:
    values = (row.chain, row.seq, row.prev_hash, row.hash, row.pk)
    _sql(f"UPDATE {TABLE} SET chain = %s, seq = %s, prev_hash = %s, hash = %s WHERE id = %s", *values)  # noqa: S608


def _hash(chain: uuid.UUID, row: AuditEntry) -> bytes:
    assert row.seq is not None
    assert row.recorded_at is not None
    whole_s = int(row.recorded_at.replace(microsecond=0).timestamp())
    recorded_us = whole_s * 1_000_000 + row.recorded_at.microsecond
    return entry_hash(chain.bytes, row.seq, recorded_us, bytes(row.prev_hash or b""), row.body.encode())


KINDS: dict[str, Callable[[Log, random.Random], None]] = {
    **{f"bit of {column}": _flip(column) for column in (*TEXTS, *UUIDS, *TIMES, *HASHES, "seq")},
    "bit of the head's size": _flip_head_size,
    "bit of the head's hash": _flip_head_hash,
    "bit of a person's key": _flip_key,
    "delete": _delete,
    "insert": _insert,
    "swap": _swap,
    "duplicate": _duplicate,
    "cut the tail": _cut_tail,
    "restore an old backup": _old_backup,
    "move to another organisation": _move,
    "rewrite and chain anew": _rewrite,
}
