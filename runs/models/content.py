"""Content-addressed texts and the contexts that sessions work on."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.postgres.indexes import HashIndex
from django.db import models


class Blob(models.Model):
    """One content in the blob store, named by its SHA-256. The bytes are in the store, not in the database."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.BigIntegerField()
    stored_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.sha256[:12]} ({self.size_bytes} B)"


class BlobUse(models.Model):
    """A session uses a blob: the right to read it comes from the session, and so does its keeping."""

    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, related_name="blob_uses")
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("session", "sha256"), name="one_use_per_session_and_blob")]
        # Asked of every content before it is deleted: does anybody use it?
        indexes = [HashIndex(fields=("sha256",), name="uses_of_blob")]

    def __str__(self) -> str:
        return f"{self.sha256[:12]} in {self.session_id}"


class Context(models.Model):
    """A context uploaded, pasted, read from an allowed path or generated. Its bytes are a blob.

    kind: `text` (UTF-8), `json`, or `bytes` (anything else; the code sees a `bytes` object).
    """

    class Kind(models.TextChoices):
        TEXT = "text", "Text"
        JSON = "json", "JSON"
        BYTES = "bytes", "Bytes"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="contexts")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    source = models.CharField(max_length=16, default="paste")
    note = models.TextField(blank=True)
    """What was noticed on the way in, e.g. how many invalid bytes were replaced."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.name
