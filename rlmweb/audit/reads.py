"""Reads of content: staged at once, sealed each second as one entry with the root of a Merkle tree (RFC 6962).

A read costs one short insert and no lock. Once sealed, anybody can prove that it is in the log, by the sealing entry and
at most twelve hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from rlmweb.audit.models import INSTANCE_CHAIN, StagedRead
from rlmweb.audit.record import prepared, record
from rlmweb.audit.standalone import inclusion_proof, leaf_hash, merkle_root

MAX_LEAVES = 4096


def stage_read(
    action: str,
    *,
    actor: str,
    object_type: str,
    object_id: UUID | str,
    team_uuid: UUID | None,
    source: str = "web",
    details: dict[str, Any] | None = None,
) -> StagedRead:
    """Raises `inventory.UnknownAction`."""
    entry = prepared(
        action,
        actor=actor,
        object_type=object_type,
        object_id=object_id,
        team_uuid=team_uuid,
        source=source,
        details=details,
    )
    return StagedRead.objects.create(body=entry.body, chain=entry.chain)


def seal_reads() -> int:
    """For the worker's clock. How many were sealed; what exceeds the leaves of one tree is left for the next second."""
    with transaction.atomic():
        waiting = StagedRead.objects.filter(sealed_in__isnull=True).order_by("id").select_for_update(skip_locked=True)
        found = sorted(waiting[:MAX_LEAVES], key=lambda read: (read.chain, read.id))
        for chain, group in groupby(found, key=lambda read: read.chain):
            _seal(chain, list(group))
    return len(found)


def _seal(chain: UUID, reads: list[StagedRead]) -> None:
    root = merkle_root([leaf_hash(read.body.encode()) for read in reads])
    entry = record(
        "reads.seal",
        actor="system",
        object_type="reads",
        object_id=str(len(reads)),
        team_uuid=None if chain == INSTANCE_CHAIN else chain,
        source="worker",
        details={"root": root.hex(), "leaves": len(reads)},
    )
    for leaf, read in enumerate(reads):
        read.sealed_in, read.leaf = entry.uuid, leaf
    StagedRead.objects.bulk_update(reads, ["sealed_in", "leaf"], batch_size=1000)


def proof_of(read: StagedRead) -> tuple[list[bytes], int]:
    """What proves that the read is in its seal, and the number of leaves there."""
    assert read.leaf is not None, "It is not sealed yet."
    bodies = StagedRead.objects.filter(sealed_in=read.sealed_in).order_by("leaf").values_list("body", flat=True)
    hashes = [leaf_hash(body.encode()) for body in bodies]
    return inclusion_proof(hashes, read.leaf), len(hashes)


def sealer_lag_s() -> float:
    """Age of the oldest read that waits, in seconds; 0 when none does."""
    oldest = StagedRead.objects.filter(sealed_in__isnull=True).order_by("id").first()
    return (timezone.now() - oldest.staged_at).total_seconds() if oldest is not None else 0.0


def broken_seal(seals: Mapping[str, tuple[int, str, int]]) -> int | None:
    """The number of the first sealing entry whose reads are not what was sealed. `seals`: uuid -> number, root, leaves."""
    found: dict[str, list[bytes]] = {}
    sealed = StagedRead.objects.filter(sealed_in__isnull=False).order_by("sealed_in", "leaf")
    for uuid, body in sealed.values_list("sealed_in", "body").iterator(chunk_size=2000):
        if str(uuid) in seals:
            found.setdefault(str(uuid), []).append(leaf_hash(body.encode()))
    bad = [
        seq
        for uuid, (seq, root, leaves) in seals.items()
        if len(found.get(uuid, [])) != leaves or merkle_root(found[uuid]).hex() != root
    ]
    return min(bad, default=None)
