"""What the collection of garbage did, and when."""

from __future__ import annotations

import uuid

from django.db import models


class StoreRun(models.Model):
    """One look through the store. `dry_run`: it only counted what it would have given up."""

    class Status(models.TextChoices):
        READY = "ready", "Waiting"
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    dry_run = models.BooleanField()
    policy = models.JSONField()
    """A `runs.store.policy.Policy` as plain data."""
    report = models.JSONField(default=dict)
    """A `runs.store.report.Report` as plain data; empty until it is over."""
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.READY)
    error_message = models.TextField(blank=True)
    asked_by = models.CharField(max_length=200)
    source = models.CharField(max_length=16)
    """The entrance: `web`, `cli`, `worker` (the clock)."""
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{'dry run' if self.dry_run else 'collection'} {self.uuid}"
