"""Admin pages of the audit log: to read."""

from __future__ import annotations

from django.contrib import admin

from rlmweb.audit.models import AuditEntry, AuditSegment, AuditSubject, ChainHead, LegalHold, StagedRead
from rlmweb.teams.readonly import ReadOnlyAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "outcome", "object_type", "object_id", "source", "seq")
    list_filter = ("action", "outcome", "source")
    search_fields = ("object_id",)
    date_hierarchy = "at"


@admin.register(ChainHead)
class ChainHeadAdmin(ReadOnlyAdmin):
    list_display = ("chain", "size")


@admin.register(AuditSegment)
class AuditSegmentAdmin(ReadOnlyAdmin):
    list_display = ("chain", "first_seq", "last_seq", "first_at", "last_at", "purged_at")


@admin.register(AuditSubject)
class AuditSubjectAdmin(ReadOnlyAdmin):
    list_display = ("name", "uuid", "erased_at")


@admin.register(LegalHold)
class LegalHoldAdmin(ReadOnlyAdmin):
    list_display = ("reason", "chain", "subject_uuid", "placed_at", "released_at")


@admin.register(StagedRead)
class StagedReadAdmin(ReadOnlyAdmin):
    list_display = ("chain", "staged_at", "sealed_in", "leaf")
