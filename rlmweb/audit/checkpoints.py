"""Signed checkpoints outside the database: without them nobody sees a log that was cut, or rewritten from end to end.

A checkpoint is a note as C2SP's signed-note and tlog-checkpoint have it: origin, number of entries, root, signature. The
root is the hash of the chain's last entry, which stands for all before it. Each chain's checkpoints are entries of the
instance chain, too. The sink is a file of JSON lines that is only ever appended to.
"""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.utils import timezone

from rlmweb.audit.body import time_text
from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, ChainHead
from rlmweb.audit.record import record
from rlmweb.audit.standalone import entries, key_id, read_checkpoint

NAME = "rlmweb-audit"
EVERY = timedelta(minutes=5)
EVERY_ENTRIES = 1000


def sink() -> Path:
    return settings.AUDIT_CHECKPOINT_DIR / "checkpoints.jsonl"


def private_key() -> Ed25519PrivateKey:
    """Made at its first use, readable by the owner alone. Two processes that start at once agree on one key."""
    path: Path = settings.AUDIT_KEY_FILE
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
        try:
            os.link(draft, path)
        except FileExistsError:
            # Somebody was faster, and that key is the one.
            return private_key()
        finally:
            draft.unlink()
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def public_key() -> bytes:
    key = private_key().public_key()
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def note_of(chain: UUID, size: int, root: bytes) -> str:
    text = f"{NAME}/{chain}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = private_key().sign(text.encode())
    packed = base64.b64encode(key_id(NAME, public_key()) + signature).decode()
    return f"{text}\n— {NAME} {packed}\n"


def sink_lines() -> Iterator[dict[str, object]]:
    if sink().exists():
        with sink().open(encoding="utf-8") as file:
            yield from entries(file)


def anchors_of(chain: UUID) -> dict[int, bytes]:
    """Size -> root, of every checkpoint of the chain. Raises `standalone.Unreadable` for one that is not ours."""
    public = public_key()
    found: dict[int, bytes] = {}
    for line in sink_lines():
        if line["chain"] == str(chain):
            _, size, root = read_checkpoint(str(line["note"]), public)
            found[size] = root
    return found


def newest(chain: UUID) -> str:
    """The note to copy; empty before the first."""
    notes = [str(line["note"]) for line in sink_lines() if line["chain"] == str(chain)]
    return notes[-1] if notes else ""


def make_due_checkpoints() -> int:
    """For the worker's clock: signs what has grown by 1,000 entries, or at all since five minutes."""
    last = _last_by_chain()
    due = [head for head in ChainHead.objects.all() if _is_due(head, last)]
    for head in sorted(due, key=lambda each: each.chain == INSTANCE_CHAIN):
        make_checkpoint(head.chain)
    return len(due)


def make_checkpoint(chain: UUID) -> str:
    """Written to the disk of the sink before the instance chain names it."""
    head = ChainHead.objects.get(chain=chain)
    note = note_of(chain, head.size, bytes(head.hash))
    line = {"chain": str(chain), "size": head.size, "at": time_text(timezone.now()), "note": note}
    sink().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with sink().open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(orjson.dumps(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    # The instance chain's own would make it grow by itself for ever.
    if chain != INSTANCE_CHAIN:
        details = {"size": head.size, "note": note}
        record(
            "audit.checkpoint",
            actor="system",
            object_type="chain",
            object_id=chain,
            source="worker",
            details=details,
        )
    return note


def _last_by_chain() -> dict[str, tuple[int, str]]:
    return {str(line["chain"]): (int(str(line["size"])), str(line["at"])) for line in sink_lines()}


def _is_due(head: ChainHead, last: dict[str, tuple[int, str]]) -> bool:
    size, at = last.get(str(head.chain), (0, ""))
    grown = head.size - size
    if head.chain == INSTANCE_CHAIN:
        kept = AuditEntry.objects.filter(chain=INSTANCE_CHAIN, seq__gt=size).exclude(action="audit.checkpoint")
        grown = grown if grown >= EVERY_ENTRIES else kept.count()
    return grown >= EVERY_ENTRIES or (grown > 0 and at <= time_text(timezone.now() - EVERY))
