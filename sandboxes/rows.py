"""Statements that every step makes, written out: through the ORM they cost several times as much."""

from __future__ import annotations

import json
from uuid import UUID

from django.db import connection

from sandboxes.models import SandboxRecord, Snapshot


def insert_snapshot(row: Snapshot, sandbox: UUID | None) -> bool:
    """Write a new row, taken in the sandbox of this uuid; its parent is the node's newest before it. False, and nothing
    is written, when its step has one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sandboxes_snapshot (uuid, sandbox_id, session_uuid, node_uuid, step_number, kind, provider, ref,"
            " manifest_sha256, python, parent_id, holds, dropped, size_bytes, stored_bytes, created_at, pinned)"
            " VALUES (%s, (SELECT id FROM sandboxes_sandboxrecord WHERE uuid = %s), %s, %s, %s, %s, %s, '', %s, %s,"
            " (SELECT id FROM sandboxes_snapshot WHERE node_uuid = %s AND kind = %s AND step_number < %s"
            " ORDER BY step_number DESC LIMIT 1), %s, %s, %s, %s, now(), FALSE)"
            " ON CONFLICT (node_uuid, step_number, kind) DO NOTHING",
            [
                *(row.uuid, sandbox, row.session_uuid, row.node_uuid, row.step_number, row.kind, row.provider),
                *(row.manifest_sha256, row.python, row.node_uuid, row.kind, row.step_number),
                *(json.dumps(row.holds), json.dumps(row.dropped), row.size_bytes, row.stored_bytes),
            ],
        )
        return bool(cursor.rowcount)


def provider_of_sandbox(uuid: UUID) -> str:
    """The provider's name; empty when the sandbox has no row any more."""
    return SandboxRecord.objects.filter(uuid=uuid).values_list("provider", flat=True).first() or ""
