"""Admin pages of sandboxes and snapshots: to read; the services end what has to end."""

from __future__ import annotations

from django.contrib import admin

from rlmweb.teams.readonly import ReadOnlyAdmin
from sandboxes.models import SandboxRecord, Snapshot


@admin.register(SandboxRecord)
class SandboxRecordAdmin(ReadOnlyAdmin):
    list_display = ("uuid", "provider", "tier", "isolation", "state", "session_uuid", "created_at", "ended_at")
    list_filter = ("state", "provider", "tier")
    search_fields = ("uuid", "session_uuid", "node_uuid")


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    list_display = ("uuid", "kind", "provider", "session_uuid", "step_number", "size_bytes", "pinned", "created_at")
    list_filter = ("kind", "provider", "pinned")
    search_fields = ("uuid", "session_uuid", "node_uuid")
