"""Admin pages of teams, their members and API tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse

from rlmweb.teams.models import (
    ApiToken,
    ContentGrant,
    Invitation,
    Membership,
    Organisation,
    OrganisationMembership,
    OrganisationPolicy,
    Team,
)
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act, Facts
from rlmweb.teams.readonly import ReadOnlyAdmin


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


class OrganisationMembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = OrganisationMembership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Organisation)
class OrganisationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug", "uuid", "require_mfa", "created_at")
    search_fields = ("name", "slug")
    inlines = (OrganisationMembershipInline,)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Asked before Django's own transaction begins. Raises `PolicyRefused`."""
        organisation = self.get_object(request, unquote(object_id))
        if organisation is not None and request.method == "POST" and "require_mfa" not in request.POST:
            facts = Facts(organisation, request.user.get_username(), "admin", has_second_factor=False)
            require(Act.LOWER_FACTOR, facts)
        return super().change_view(request, object_id, form_url, extra_context)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its audit chain would be nobody's."""
        return False


@admin.register(OrganisationMembership)
class OrganisationMembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("user", "organisation", "role", "created_at")
    list_filter = ("role", "organisation")
    search_fields = ("user__username", "organisation__name")
    list_select_related = ("user", "organisation")
    autocomplete_fields = ("user", "organisation")


@admin.register(OrganisationPolicy)
class OrganisationPolicyAdmin(ReadOnlyAdmin):
    list_display = ("organisation", "version", "profile", "set_by", "at")
    list_filter = ("profile",)
    search_fields = ("organisation__name",)
    list_select_related = ("organisation", "set_by")


@admin.register(ContentGrant)
class ContentGrantAdmin(ReadOnlyAdmin):
    list_display = ("user", "team", "granted_by", "reason", "created_at", "expires_at")
    search_fields = ("user__username", "team__name", "reason")
    list_select_related = ("user", "team", "granted_by")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("email", "role", "organisation", "team", "invited_by", "expires_at", "accepted_at")
    search_fields = ("email", "organisation__name")
    list_select_related = ("organisation", "team", "invited_by")
    exclude = ("code_sha256",)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "organisation", "slug", "uuid", "created_at")
    search_fields = ("name", "slug")
    list_select_related = ("organisation",)
    inlines = (MembershipInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A team never changes its organisation: its entries stand in that one's audit chain."""
        return ("organisation",) if obj is not None else ()


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
