"""The journal of LM calls: no call is paid for twice, and a re-execution needs no model."""

from __future__ import annotations

from django.db import models


class LmCall(models.Model):
    """One LM call, written before it is sent and again when it is answered.

    It is found by where it was made (`step`, `cell`, `subcall`, `index`) and checked by `request_sha256`; a turn has
    cell 0 and sub-call `turn`, `compaction` or `final`.
    """

    class Status(models.TextChoices):
        STARTED = "started", "Started"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"
        ABANDONED = "abandoned", "Abandoned"

    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, related_name="lm_calls")
    step = models.ForeignKey("runs.Step", on_delete=models.CASCADE, related_name="lm_calls")
    number = models.IntegerField()
    kind = models.CharField(max_length=16)
    cell = models.IntegerField(default=0)
    subcall = models.CharField(max_length=32)
    index = models.IntegerField(default=0)
    request_sha256 = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.STARTED)
    reply = models.TextField(blank=True)
    error_type = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    input_tokens = models.IntegerField(null=True)
    output_tokens = models.IntegerField(null=True)
    cost_micro_usd = models.BigIntegerField(null=True)
    reserved_tokens = models.IntegerField(default=0)
    reserved_output_tokens = models.IntegerField(null=True)
    """Of the reserved tokens, those of the reply. None: the call is not booked with quotas."""
    reserved_micro_usd = models.BigIntegerField(default=0)
    inherited = models.BooleanField(default=False, db_default=False)
    """Made and paid for by the session that this one was forked from or imported as."""
    maybe_repeated = models.BooleanField(default=False)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("session", "number")
        constraints = [
            models.UniqueConstraint(fields=("step", "cell", "subcall", "index"), name="one_journal_row_per_call"),
            models.UniqueConstraint(fields=("session", "number"), name="one_call_per_number"),
        ]

    def __str__(self) -> str:
        return f"call {self.number}"
