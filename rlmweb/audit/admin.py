"""Admin pages of the audit log: to read."""

from __future__ import annotations

from django.contrib import admin

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.readonly import ReadOnlyAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "outcome", "object_type", "object_id", "source")
    list_filter = ("action", "outcome", "source")
    search_fields = ("actor", "object_id")
    date_hierarchy = "at"
