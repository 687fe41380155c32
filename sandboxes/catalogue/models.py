"""Rows of the catalogue that are not shipped: what a team adds or corrects, and what was measured."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone


class CatalogueRow(models.Model):
    """What a team says of a provider. With the provider, capability and text of a shipped row it corrects that row, which
    stays visible beside it."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="catalogue_rows")
    provider = models.CharField(max_length=32)
    capability_key = models.CharField(max_length=32)
    claim_text = models.CharField(max_length=500)
    support = models.CharField(max_length=16, blank=True)
    value = models.CharField(max_length=500)
    status = models.CharField(max_length=16)
    as_of = models.DateField()
    source = models.CharField(max_length=500)
    note = models.CharField(max_length=500, blank=True)
    entered_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("provider", "capability_key", "-as_of", "-id")
        indexes = [models.Index(fields=("team", "provider"), name="catalogue_rows_of_a_team")]

    def __str__(self) -> str:
        return f"{self.provider}, {self.capability_key}: {self.value}"


class ProviderMeasurement(models.Model):
    """One operation at one provider: how long it took, or how it failed. Knows no team, session or sandbox."""

    class Operation(models.TextChoices):
        CREATE = "create", "Create"
        FIRST_OUTPUT = "first_output", "Create to first output"
        EXEC = "exec", "Command there and back"
        SNAPSHOT = "snapshot", "Snapshot"
        RESTORE = "restore", "Restore"
        FORK_10 = "fork_10", "Fork into ten"
        TERMINATE = "terminate", "Terminate"

    class Source(models.TextChoices):
        SESSION = "session", "Sessions"
        BENCH = "bench", "Benchmark"
        LOOPBACK = "loopback", "Test server"
        """Against a server of ours that speaks the vendor's protocol: says nothing about the vendor's speed."""

    provider = models.CharField(max_length=32)
    operation = models.CharField(max_length=16, choices=Operation.choices)
    ms = models.FloatField()
    """Milliseconds from the call to its end, failed or not."""
    at = models.DateTimeField(default=timezone.now)
    region = models.CharField(max_length=253, blank=True)
    """As it was asked for; empty: the provider's choice."""
    measured_from = models.CharField(max_length=64, blank=True)
    """The machine that called."""
    source = models.CharField(max_length=16, choices=Source.choices)
    error = models.CharField(max_length=64, blank=True)
    """Type of the error; empty: it succeeded."""

    class Meta:
        ordering = ("-at",)
        indexes = [
            models.Index(fields=("source", "provider", "operation", "at"), name="measurements_to_summarise"),
            models.Index(fields=("at",), name="measurements_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}, {self.operation}: {self.ms:.1f} ms"
