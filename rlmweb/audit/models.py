"""AuditEntry: append-only, in chains. It names users and sessions by value, so that it outlives them.

The database numbers and hashes an entry at the very end of its transaction (migration 0004), refuses every change to it,
and lets whole segments go only together with a header that keeps the chain whole (`AuditSegment`).
"""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

import orjson
from django.db import models

from rlmweb.audit.subjects import opened

INSTANCE_CHAIN = uuid.UUID(int=0)
"""Owner of what belongs to no team: the installation itself."""


class AuditSubject(models.Model):
    """A person as the log knows one. What says who it is can be read while `sealed_key` is there."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=200, db_index=True)
    sealed_key = models.BinaryField(default=b"", editable=False)
    erased_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=("name",), condition=models.Q(erased_at__isnull=True), name="one_living_subject_per_name"
            )
        ]

    def __str__(self) -> str:
        return self.name or f"erased {str(self.uuid)[:8]}"


class ChainHead(models.Model):
    """The newest number and hash of a chain. Its row is the lock under which entries are numbered."""

    chain = models.UUIDField(primary_key=True)
    size = models.BigIntegerField(default=0)
    hash = models.BinaryField(default=bytes(32))

    def __str__(self) -> str:
        return f"{self.chain} at {self.size}"


class AuditEntry(models.Model):
    """One act. `action` is `noun.verb`; `object_id` is the uuid of what was acted on.

    `body` is the canonical text that the hash is made of; the columns beside it repeat it for queries and are compared
    with it by the verifier.
    """

    class Outcome(models.TextChoices):
        SUCCESS = "success", "Success"
        DENIED = "denied", "Denied"
        ERROR = "error", "Error"

    uuid = models.UUIDField(unique=True, editable=False)
    chain = models.UUIDField(default=INSTANCE_CHAIN, editable=False)
    # The four are null until the transaction ends.
    seq = models.BigIntegerField(null=True, editable=False)
    recorded_at = models.DateTimeField(null=True, editable=False)
    prev_hash = models.BinaryField(null=True, editable=False)
    hash = models.BinaryField(null=True, editable=False)
    body = models.TextField(editable=False)

    at = models.DateTimeField(db_index=True)
    team_uuid = models.UUIDField(null=True)
    subject_uuid = models.UUIDField(db_index=True)
    action = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.SUCCESS)
    object_type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    source = models.CharField(max_length=16)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        constraints = [models.UniqueConstraint(fields=("chain", "seq"), name="one_entry_per_number")]
        # Few, because numbering an entry writes every one of them a second time.
        indexes = [models.Index(fields=("object_id",), name="entries_of_an_object")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action} {self.object_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Audit entries are append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Audit entries are append-only.")

    @property
    def document(self) -> dict[str, Any]:
        """What was recorded, with personal fields still encrypted."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def details(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["details"]
        return found

    @property
    def personal(self) -> dict[str, Any]:
        """Name at that time, address, browser; empty once the person is erased."""
        subject = AuditSubject.objects.filter(uuid=self.subject_uuid).first()
        key = bytes(subject.sealed_key) if subject is not None else b""
        return opened(key, self.document["personal"], str(self.subject_uuid))

    @property
    def actor(self) -> str:
        return str(self.personal.get("actor") or f"erased {str(self.subject_uuid)[:8]}")


class AuditSegment(models.Model):
    """Header of entries that retention let go: what keeps the rest of the chain provable."""

    chain = models.UUIDField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    prev_hash = models.BinaryField()
    last_hash = models.BinaryField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    purged_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("chain", "first_seq"), name="one_segment_per_start")]

    def __str__(self) -> str:
        return f"{self.chain} {self.first_seq} to {self.last_seq}"


class LegalHold(models.Model):
    """While it stands, nothing of the chain is purged and, with a subject, nobody is erased."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    chain = models.UUIDField(null=True, blank=True)
    subject_uuid = models.UUIDField(null=True, blank=True)
    reason = models.CharField(max_length=500)
    placed_at = models.DateTimeField(auto_now_add=True)
    released_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.reason[:60]


class StagedRead(models.Model):
    """A read of content that waits to be sealed, about a second; afterwards leaf `leaf` of the entry `sealed_in`."""

    body = models.TextField()
    chain = models.UUIDField(db_index=True)
    staged_at = models.DateTimeField(auto_now_add=True)
    sealed_in = models.UUIDField(null=True, db_index=True)
    leaf = models.IntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=("id",), condition=models.Q(sealed_in__isnull=True), name="reads_to_seal")]

    def __str__(self) -> str:
        return f"read {self.pk} of {self.chain}"
