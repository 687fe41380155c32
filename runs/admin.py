"""Admin pages of the runs room: to find and to read. Sessions are started and stopped by services, events never change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse

from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from rlmweb.teams.readonly import ReadOnlyAdmin
from runs.models import (
    Blob,
    BlobUse,
    Context,
    Event,
    Job,
    LmCall,
    LmCredential,
    Node,
    NodeMessage,
    OutboxMessage,
    Rollout,
    RolloutBranch,
    Session,
    SessionMeter,
    Share,
    Step,
    StoreRun,
)
from runs.services.policy_facts import person_facts


class ContentAdmin(ReadOnlyAdmin):
    """Rows that hold what people and models wrote: shown as the policy of their organisation allows."""

    to_session = ""
    """The way from a row to its session, as Django writes it; empty: it is one."""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Asked before Django's own transaction begins. Raises `PolicyRefused`."""
        row: Any = self.get_object(request, unquote(object_id))
        if row is not None:
            for name in filter(None, self.to_session.split("__")):
                row = getattr(row, name)
            require(Act.LOOK, person_facts(row, request.user, "admin"))
        return super().change_view(request, object_id, form_url, extra_context)


@admin.register(Session)
class SessionAdmin(ContentAdmin):
    list_display = ("title", "status", "team", "created_by", "created_at", "finished_at", "uuid")
    list_filter = ("status", "team")
    search_fields = ("uuid", "title", "question")
    list_select_related = ("team", "created_by")
    date_hierarchy = "created_at"


@admin.register(SessionMeter)
class SessionMeterAdmin(ReadOnlyAdmin):
    list_display = ("session", "last_seq", "nodes", "steps", "lm_calls", "lm_calls_reserved", "cost_micro_usd")
    search_fields = ("session__uuid",)
    list_select_related = ("session",)


@admin.register(Node)
class NodeAdmin(ContentAdmin):
    to_session = "session"
    list_display = ("number", "session", "depth", "status", "created_at", "finished_at")
    list_filter = ("status", "depth")
    search_fields = ("uuid", "session__uuid")
    list_select_related = ("session",)
    raw_id_fields = ("session", "parent", "parent_step")


@admin.register(NodeMessage)
class NodeMessageAdmin(ContentAdmin):
    to_session = "node__session"
    list_display = ("node", "epoch", "position", "role", "step_number")
    search_fields = ("node__uuid",)
    list_select_related = ("node",)


@admin.register(Step)
class StepAdmin(ContentAdmin):
    to_session = "session"
    list_display = ("number", "node", "session", "status", "attempt", "crashes", "worker", "lease_expires_at")
    list_filter = ("status",)
    search_fields = ("uuid", "session__uuid", "worker")
    list_select_related = ("node", "session")


@admin.register(LmCall)
class LmCallAdmin(ContentAdmin):
    to_session = "session"
    list_display = ("number", "session", "kind", "model", "status", "input_tokens", "output_tokens", "cost_micro_usd")
    list_filter = ("status", "kind", "maybe_repeated")
    search_fields = ("session__uuid", "model")
    list_select_related = ("session",)


@admin.register(Event)
class EventAdmin(ContentAdmin):
    to_session = "session"
    list_display = ("session", "seq", "type", "node", "at_ms")
    search_fields = ("=session__uuid",)
    list_select_related = ("session",)
    ordering = ("-id",)


@admin.register(Context)
class ContextAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "size_bytes", "source", "team", "created_by", "created_at")
    list_filter = ("kind", "source")
    search_fields = ("uuid", "name", "sha256")
    list_select_related = ("team", "created_by")


@admin.register(LmCredential)
class LmCredentialAdmin(ReadOnlyAdmin):
    """Keys are entered on the team's own page, where they are encrypted; here they can be seen to exist."""

    list_display = ("name", "api", "base_url", "key_hint", "team", "created_at")
    list_filter = ("api",)
    search_fields = ("name", "base_url")
    list_select_related = ("team",)
    exclude = ("key_encrypted",)


@admin.register(Blob)
class BlobAdmin(ReadOnlyAdmin):
    list_display = ("sha256", "size_bytes", "stored_bytes", "created_at")
    search_fields = ("sha256",)


@admin.register(BlobUse)
class BlobUseAdmin(ReadOnlyAdmin):
    list_display = ("sha256", "session")
    search_fields = ("sha256", "session__uuid")
    list_select_related = ("session",)


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    list_display = ("task", "args", "created_at")


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("kind", "session", "team", "status", "created_by", "crashes", "created_at", "finished_at")
    list_filter = ("kind", "status", "team")
    search_fields = ("uuid", "session__uuid")
    list_select_related = ("session", "team", "created_by")


@admin.register(Rollout)
class RolloutAdmin(ReadOnlyAdmin):
    list_display = ("session", "node_number", "steps", "branches_per_step", "status", "created_by", "created_at")
    list_filter = ("status",)
    search_fields = ("uuid", "session__uuid")
    list_select_related = ("session", "created_by")


@admin.register(RolloutBranch)
class RolloutBranchAdmin(ReadOnlyAdmin):
    list_display = ("rollout", "step_number", "index", "session", "score", "scored_at")
    search_fields = ("rollout__uuid", "session__uuid")
    list_select_related = ("rollout", "session")


@admin.register(Share)
class ShareAdmin(ReadOnlyAdmin):
    list_display = ("uuid", "session", "audience", "redaction", "created_by", "expires_at", "revoked_at", "views")
    list_filter = ("audience", "redaction")
    search_fields = ("uuid", "public_id", "session__uuid")
    list_select_related = ("session", "created_by")
    exclude = ("token_hmac", "password", "words")


@admin.register(StoreRun)
class StoreRunAdmin(ReadOnlyAdmin):
    list_display = ("uuid", "dry_run", "status", "asked_by", "source", "created_at", "finished_at")
    list_filter = ("status", "dry_run", "source")
    search_fields = ("uuid", "asked_by")
