"""The outbox: what must be sent to the broker once the transaction that wants it has committed."""

from __future__ import annotations

from django.db import models


class OutboxMessage(models.Model):
    """A task to send, written in the transaction that makes it due. Sent after commit; the reconciler sends leftovers."""

    task = models.CharField(max_length=100)
    args = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)
        verbose_name = "outbox message"

    def __str__(self) -> str:
        return f"{self.task}{self.args}"
