"""Keys of a team for language-model APIs, encrypted at rest."""

from __future__ import annotations

import uuid

from django.db import models


class LmCredential(models.Model):
    """A team's key for one endpoint. The key itself is write-only: pages show `key_hint`."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="lm_credentials")
    name = models.CharField(max_length=100)
    api = models.CharField(max_length=16)
    base_url = models.URLField(blank=True)
    key_encrypted = models.BinaryField(editable=False)
    key_hint = models.CharField(max_length=16, editable=False)
    input_price_usd_per_million = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    output_price_usd_per_million = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("team", "name"), name="one_credential_name_per_team")]
        verbose_name = "LM credential"

    def __str__(self) -> str:
        return f"{self.name} ({self.api})"
