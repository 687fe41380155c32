"""Organisation, Team, who belongs to them with which role, and API tokens.

Every session belongs to exactly one team, every team to exactly one organisation, for ever.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class Role(models.TextChoices):
    """What a person may do; `rlmweb.teams.permissions` is where the roles take effect.

    The first three are held in a team, the others in an organisation, over all its teams.
    """

    VIEWER = "viewer", "Viewer"
    RESEARCHER = "researcher", "Researcher"
    LEAD = "lead", "Lead"
    AUDITOR = "auditor", "Auditor"
    ADMIN = "admin", "Admin"
    OWNER = "owner", "Owner"


TEAM_ROLES = (Role.VIEWER, Role.RESEARCHER, Role.LEAD)
ORGANISATION_ROLES = (Role.AUDITOR, Role.ADMIN, Role.OWNER)


class Organisation(models.Model):
    """What has one audit chain, one bill and one set of rules. Nothing of it is seen from another."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    require_mfa = models.BooleanField(default=False)
    """Roles here count only for people with a second factor."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class OrganisationMembership(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="organisation_roles")
    role = models.CharField(max_length=16, choices=[(role.value, role.label) for role in ORGANISATION_ROLES])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("organisation", "user"), name="one_role_per_organisation"),
            models.CheckConstraint(condition=Q(role__in=ORGANISATION_ROLES), name="role_of_an_organisation"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organisation} as {self.role}"


class Team(models.Model):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="teams")
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    members: models.ManyToManyField[models.Model, Membership] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="teams"
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(
        max_length=16, choices=[(role.value, role.label) for role in TEAM_ROLES], default=Role.RESEARCHER
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("team", "user"), name="one_membership_per_team"),
            models.CheckConstraint(condition=Q(role__in=TEAM_ROLES), name="role_of_a_team"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} as {self.role}"


class ContentGrant(models.Model):
    """Somebody without a role in the team sees its content until `expires_at`, for a reason that the log holds.

    `granted_by` is the person's own self for emergency access of admins and owners (break-glass).
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="content_grants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="content_grants")
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user} sees {self.team} until {self.expires_at:%Y-%m-%d %H:%M}"


class Invitation(models.Model):
    """A way in for one person, used once. Only a hash of its code is stored: see `rlmweb.teams.invitations`."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="invitations")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, related_name="invitations")
    """None for a role in the organisation."""
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role.choices)
    code_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"


class ApiToken(models.Model):
    """A person's key to the API, as far as the person's own roles in its team and its scopes reach.

    Written by `rlmweb.teams.tokens`.
    """

    class Scope(models.TextChoices):
        READ = "read", "Read sessions"
        RUN = "run", "Start, fork and stop sessions"
        KEEP = "keep", "Delete, and change keys and settings"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    scopes = models.JSONField(default=list)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


# A part of this app with a folder of its own; Django looks for models here.
from rlmweb.teams.policies.models import OrganisationPolicy  # noqa: E402

__all__ = (
    "ORGANISATION_ROLES",
    "TEAM_ROLES",
    "ApiToken",
    "ContentGrant",
    "Invitation",
    "Membership",
    "Organisation",
    "OrganisationMembership",
    "OrganisationPolicy",
    "Role",
    "Team",
)
