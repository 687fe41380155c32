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
    kept_until = models.DateTimeField(null=True, blank=True)
    """A sandbox beside the nodes (to look, to run again) is wanted until then at the longest."""

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.provider} {self.uuid}"


class Snapshot(models.Model):
    """Saved state of a sandbox at the end of a step: what it holds, where, and what it does not hold.

    A row is written when all of its contents are stored: one that exists is complete. Portable: `manifest_sha256` is the
    blob of a `sandboxes.manifest.Manifest`, and restores on any provider. Native: `ref` names it at the provider.
    """

    class Kind(models.TextChoices):
        FILESYSTEM = "fs", "File system"
        MEMORY = "memory", "Memory"
        PORTABLE = "portable", "Portable"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sandbox = models.ForeignKey(SandboxRecord, on_delete=models.SET_NULL, null=True, related_name="snapshots")
    session_uuid = models.UUIDField(db_index=True)
    node_uuid = models.UUIDField(db_index=True)
    step_number = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.PORTABLE)
    provider = models.CharField(max_length=32)
    ref = models.TextField(blank=True)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    python = models.CharField(max_length=32, blank=True)
    """Version of the interpreter, e.g. `3.11.7`: restores under the same minor version."""
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="children")
    holds = models.JSONField(default=list)
    """Of `variables`, `files`, `memory`."""
    dropped = models.JSONField(default=list)
    """What it does not hold: `{"name", "type", "reason"}` each, the first hundred."""
    size_bytes = models.BigIntegerField(default=0)
    """Of the state; of contents that are shared with earlier snapshots, too."""
    stored_bytes = models.BigIntegerField(default=0)
    """What this snapshot added to the store, compressed."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    pinned = models.BooleanField(default=False)
    collected_at = models.DateTimeField(null=True, blank=True)
    """When its contents were given up by the retention policy; it cannot be restored since."""

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=("node_uuid", "step_number", "kind"), name="one_snapshot_per_step_and_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} snapshot of step {self.step_number}"
