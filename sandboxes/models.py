"""Rows for what we have at the providers: sandboxes and snapshots."""

from __future__ import annotations

import uuid

from django.db import models


class SandboxRecord(models.Model):
    """One sandbox we created. It knows its session and node by uuid only: this room does not import `runs`."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        LOST = "lost", "Lost"
        TERMINATED = "terminated", "Terminated"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    provider = models.CharField(max_length=32)
    ref = models.TextField()
    tier = models.CharField(max_length=32, blank=True)
    isolation = models.CharField(max_length=16, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RUNNING, db_index=True)
    session_uuid = models.UUIDField(db_index=True)
    node_uuid = models.UUIDField(db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.provider} {self.uuid}"


class Snapshot(models.Model):
    """Saved state of a sandbox at the end of a step: what it holds, where, and what it does not hold."""

    class Kind(models.TextChoices):
        LIVE = "live", "Live"
        FILESYSTEM = "fs", "File system"
        MEMORY = "memory", "Memory"
        PORTABLE = "portable", "Portable"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sandbox = models.ForeignKey(SandboxRecord, on_delete=models.SET_NULL, null=True, related_name="snapshots")
    session_uuid = models.UUIDField(db_index=True)
    node_uuid = models.UUIDField(db_index=True)
    step_number = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    provider = models.CharField(max_length=32)
    ref = models.TextField()
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="children")
    holds = models.JSONField(default=list)
    dropped = models.JSONField(default=list)
    size_bytes = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    pinned = models.BooleanField(default=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.kind} snapshot of step {self.step_number}"
