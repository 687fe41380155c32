"""Admin pages of sandboxes and snapshots: to read; the services end what has to end."""

from __future__ import annotations

from django.contrib import admin

from rlmweb.teams.readonly import ReadOnlyAdmin
from sandboxes.catalogue.models import CatalogueRow, ProviderMeasurement
from sandboxes.models import ProviderAccount, ProviderAttestation, ProviderOrder, SandboxRecord, Snapshot


@admin.register(ProviderAccount)
class ProviderAccountAdmin(ReadOnlyAdmin):
    """Keys are entered on the team's own page, where they are encrypted; here they can be seen to exist."""

    list_display = ("uuid", "team", "provider", "hint", "checked_at", "check_failed", "created_at")
    list_filter = ("provider", "check_failed")
    search_fields = ("team__name", "provider")
    exclude = ("secrets_encrypted",)


@admin.register(ProviderOrder)
class ProviderOrderAdmin(ReadOnlyAdmin):
    list_display = ("team", "names")
    search_fields = ("team__name",)


@admin.register(ProviderAttestation)
class ProviderAttestationAdmin(ReadOnlyAdmin):
    list_display = ("team", "provider", "kind", "scope", "valid_until", "entered_by")
    list_filter = ("provider", "kind")
    search_fields = ("team__name", "kind", "scope")


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


@admin.register(CatalogueRow)
class CatalogueRowAdmin(ReadOnlyAdmin):
    list_display = ("team", "provider", "capability_key", "claim_text", "value", "status", "as_of", "entered_by")
    list_filter = ("provider", "status", "capability_key")
    search_fields = ("team__name", "claim_text", "value", "source")


@admin.register(ProviderMeasurement)
class ProviderMeasurementAdmin(ReadOnlyAdmin):
    list_display = ("provider", "operation", "ms", "at", "region", "measured_from", "source", "error")
    list_filter = ("source", "provider", "operation")
