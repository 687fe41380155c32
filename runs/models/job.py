"""Longer work beside sessions: re-executions, rollouts, imports. Owned by a lease, like a step."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Job(models.Model):
    """One piece of work of `kind`; what it is to do stands in `args`, what came out in `result`.

    It is started again when its worker dies, so whoever works on it goes on from what is on record. status: `ready` (to
    be claimed), `running`, then final.
    """

    class Status(models.TextChoices):
        READY = "ready", "Waiting"
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"
        STOPPED = "stopped", "Stopped"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=32)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="jobs")
    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, null=True, blank=True, related_name="jobs")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="jobs")
    args = models.JSONField(default=dict)
    progress = models.JSONField(default=dict)
    """For people who watch: `done`, `total`, `text`."""
    result = models.JSONField(default=dict)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.READY)
    error_type = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    crashes = models.IntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(
                fields=("lease_expires_at",),
                condition=models.Q(status__in=("ready", "running")),
                name="unfinished_jobs_by_lease",
            ),
            models.Index(fields=("session", "kind", "-id"), name="jobs_of_session"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid}"
