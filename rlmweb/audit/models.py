"""AuditEntry: append-only. It names users and sessions by value, so that it outlives them."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from django.db import models


class AuditEntry(models.Model):
    """One act. `action` is `noun.verb`; `object_id` is the uuid of what was acted on."""

    class Outcome(models.TextChoices):
        SUCCESS = "success", "Success"
        DENIED = "denied", "Denied"
        ERROR = "error", "Error"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    team_uuid = models.UUIDField(null=True, db_index=True)
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=64, db_index=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.SUCCESS)
    object_type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    source = models.CharField(max_length=16)
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action} {self.object_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Audit entries are append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Audit entries are append-only.")
