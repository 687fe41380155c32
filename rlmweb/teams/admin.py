"""Admin pages of teams, their members and API tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from rlmweb.teams.models import ApiToken, Membership, Team
from rlmweb.teams.readonly import ReadOnlyAdmin


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug", "uuid", "created_at")
    search_fields = ("name", "slug")
    inlines = (MembershipInline,)


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("user", "team", "role", "created_at")
    list_filter = ("role", "team")
    search_fields = ("user__username", "team__name")
    list_select_related = ("user", "team")
    autocomplete_fields = ("user", "team")


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "team", "created_at", "last_used_at", "expires_at")
    search_fields = ("name", "user__username")
    list_select_related = ("user", "team")
    exclude = ("token_sha256",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting a token revokes it."""
        return request.user.has_perm("teams.delete_apitoken")
