"""Links with which a session is shown to others."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Share(models.Model):
    """One link. Its token is stored as an HMAC only; written by `runs.shares.sharing`."""

    class Audience(models.TextChoices):
        TEAM = "team", "The team"
        ORGANISATION = "organisation", "Everybody of the organisation"
        PASSWORD = "password", "Whoever has the link and the password"
        PUBLIC = "public", "Whoever has the link"

    class Redaction(models.TextChoices):
        EVERYTHING = "everything", "Show everything"
        MASKED = "masked", "Mask keys, addresses and listed words"
        STRICT = "strict", "Structure and figures only"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    public_id = models.CharField(max_length=32, unique=True, editable=False)
    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, related_name="shares")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    audience = models.CharField(max_length=16, choices=Audience.choices)
    redaction = models.CharField(max_length=16, choices=Redaction.choices)
    words = models.JSONField(default=list)
    """Texts that masking hides besides what it knows by itself."""
    node = models.IntegerField(null=True)
    """Only this node and what is below it; None: the whole session."""
    upto_seq = models.BigIntegerField(null=True)
    """Nothing after this event (frozen); None: live."""
    token_hmac = models.CharField(max_length=64, blank=True, editable=False)
    password = models.CharField(max_length=128, blank=True, editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    views = models.IntegerField(default=0)
    max_views = models.IntegerField(null=True)
    last_viewed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.get_audience_display()}, {self.get_redaction_display()}"
