"""The row of a policy. Imported at the end of `rlmweb.teams.models`, so that Django finds it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class OrganisationPolicy(models.Model):
    """One version of what an organisation allows. The newest counts; rows are added, never changed."""

    organisation = models.ForeignKey("teams.Organisation", on_delete=models.CASCADE, related_name="policies")
    version = models.PositiveIntegerField()
    """1, 2, 3... within the organisation; without a row the profile `open` holds as version 0."""
    profile = models.CharField(max_length=16)
    document = models.JSONField(default=dict)
    """Rules that differ from the profile's: name -> value (`rlmweb.teams.policies.rules.Rules`)."""
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("organisation", "-version")
        constraints = [
            models.UniqueConstraint(fields=("organisation", "version"), name="one_policy_per_version"),
            models.CheckConstraint(condition=Q(version__gte=1), name="policy_versions_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.profile}/{self.version} of {self.organisation}"
