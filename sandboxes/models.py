"""Rows for what we have at the providers: sandboxes and snapshots."""

from __future__ import annotations

import uuid

from django.db import models


class ProviderAccount(models.Model):
    """What a team entered to use a provider. Secrets are write-only: pages show `hint`."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="provider_accounts")
    provider = models.CharField(max_length=32)
    options = models.JSONField(default=dict)
    """What is no secret: region, workspace, project."""
    secrets_encrypted = models.BinaryField(editable=False)
    hint = models.CharField(max_length=16, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    check_failed = models.BooleanField(default=False)
    check_text = models.CharField(max_length=500, blank=True)
    """What the provider said when the key was last tried."""

    class Meta:
        ordering = ("team_id", "provider")
        constraints = [models.UniqueConstraint(fields=("team", "provider"), name="one_account_per_team_and_provider")]

    def __str__(self) -> str:
        return f"{self.provider} of {self.team}"


class ProviderOrder(models.Model):
    """Where a team's sessions run when nothing else is said, and where they go when that one has no room."""

    team = models.OneToOneField("teams.Team", on_delete=models.CASCADE, related_name="provider_order")
    names = models.JSONField(default=list)
    """Providers, the default first."""

    def __str__(self) -> str:
        return f"{self.team}: {', '.join(self.names)}"


class ProviderAttestation(models.Model):
    """What a provider has attested to a team, as the team entered it: nothing of the kind is true for ever."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="provider_attestations")
    provider = models.CharField(max_length=32)
    kind = models.CharField(max_length=64)
    """`BAA`, `SOC 2 Type II`, `ISO 27001`, ..."""
    scope = models.CharField(max_length=500)
    reference = models.CharField(max_length=500, blank=True)
    """Where the document is."""
    valid_until = models.DateField()
    entered_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("provider", "kind", "-valid_until")

    def __str__(self) -> str:
        return f"{self.kind} of {self.provider} until {self.valid_until}"


class SandboxRecord(models.Model):
    """One sandbox we created. It knows its session and node by uuid only: this room does not import `runs`."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        LOST = "lost", "Lost"
        TERMINATED = "terminated", "Terminated"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    provider = models.CharField(max_length=32)
    account = models.ForeignKey(
        ProviderAccount, on_delete=models.SET_NULL, null=True, blank=True, related_name="sandboxes"
    )
    """Whose key it was made with; None: it needed none, or the key was removed since."""
    ref = models.TextField()
    gpu = models.CharField(max_length=64, blank=True)
    """The type that was asked for first; a session pays for it as long as the sandbox runs."""
    gpu_count = models.PositiveSmallIntegerField(default=0)
    usd_per_hour = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    """Estimated when it was made, while busy; None: not known."""
    tier = models.CharField(max_length=32, blank=True)
    isolation = models.CharField(max_length=16, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RUNNING, db_index=True)
    session_uuid = models.UUIDField(db_index=True)
    node_uuid = models.UUIDField(db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)
    """When a provider that cannot list its sandboxes confirmed the end; until then it is asked again."""
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


from sandboxes.catalogue.models import CatalogueRow, ProviderMeasurement  # noqa: E402, F401  # tables of this app, too
