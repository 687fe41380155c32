"""The event log at rest."""

from __future__ import annotations

from django.db import models


class Event(models.Model):
    """One fact about a session. Written only by `runs.events.record`; never changed.

    `data` is the JSON text of the typed event (`runs.events.types`) and goes to browsers as it stands: PostgreSQL's
    jsonb would refuse some of what models print, and re-serialising is what limits a replay.
    """

    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    at_ms = models.BigIntegerField()
    type = models.CharField(max_length=32)
    node = models.IntegerField(null=True)
    data = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=("session", "seq"), name="gapless_seq_per_session")]
        ordering = ("session", "seq")

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"
