"""Histories as an honest installation writes them: acts, reads, denials, people who are forgotten, checkpoints."""

from __future__ import annotations

import random
import uuid

from django.db import connection

from rlmweb.audit.models import AuditEntry, AuditSubject, ChainHead
from rlmweb.audit.reads import seal_reads, stage_read
from rlmweb.audit.record import Particulars, record
from rlmweb.audit.retention import erase

ODD = ("", "é", "\x00", "\ud800", "=1+1", "𝄞" * 50, "\u202e", '"\\', "x" * 5000)
NUMBERS = (0, -1, 2**53, 2**70, 1.5, 1e21, 1e-7, float("inf"), float("nan"), True, None)
OUTCOMES = tuple(AuditEntry.Outcome.values)


def clean_history(chain: uuid.UUID, chance: random.Random, longest: int = 30) -> tuple[uuid.UUID, dict[int, bytes]]:
    """Call it inside a transaction. The chain, and a checkpoint somewhere in it."""
    with connection.cursor() as cursor:
        # Number each entry at once and not when the transaction ends: it is going to be rolled back.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    anchors: dict[int, bytes] = {}
    for _ in range(chance.randint(1, longest)):
        _act(chain, chance)
        if chance.random() < 0.1:
            head = ChainHead.objects.get(chain=chain)
            anchors[head.size] = bytes(head.hash)
    return chain, anchors


def _act(chain: uuid.UUID, chance: random.Random) -> None:
    actor = f"person {chance.randint(1, 4)}"
    kind = chance.random()
    if kind < 0.1:
        for number in range(chance.randint(1, 9)):
            stage_read("session.read", actor=actor, object_type="session", object_id=str(number), team_uuid=chain)
        seal_reads()
    subject = AuditSubject.objects.filter(name=actor, erased_at__isnull=True).first()
    if kind > 0.95 and subject is not None:
        erase(subject, actor="root", reason="asked for")
    record(
        "session.stop",
        actor=actor,
        object_type="session",
        object_id=uuid.uuid4(),
        team_uuid=chain,
        outcome=chance.choice(OUTCOMES),
        details={"text": chance.choice(ODD), "number": chance.choice(NUMBERS), "list": [chance.choice(ODD)]},
        particulars=Particulars(reason=chance.choice(ODD), step=chance.randint(0, 9)),
    )
