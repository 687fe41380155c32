"""Session and the counters that every step of its tree shares."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Session(models.Model):
    """One RLM run: a question over a context, its configuration, its outcome. Owns one tree of nodes and one event log."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        LIMITED = "limited", "Ended by a limit"
        STOPPED = "stopped", "Stopped"
        FAILED = "failed", "Failed"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="sessions")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="sessions"
    )
    title = models.CharField(max_length=200)
    question = models.TextField()
    context = models.ForeignKey("runs.Context", on_delete=models.PROTECT, related_name="sessions")
    config = models.JSONField()
    """A `SessionConfig` (`runs.services.config`) as plain data."""
    labels = models.JSONField(default=list)
    policy = models.JSONField(default=dict)
    """Under what it was started: `profile`, `version`, `data_class`. Empty for sessions from before there were policies."""
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING, db_index=True)
    answer = models.TextField(null=True, blank=True)  # noqa: DJ001 - no answer is not an empty answer
    """The first part of the answer, as far as it fits in a list row; the whole is in the event log and its blob."""
    answer_partial = models.BooleanField(default=False)
    error_type = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    forked_from = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="forks")
    origin = models.JSONField(default=dict)
    """Where it came from when it was not started from a question (`runs.replay.origin.Origin` as plain data): fork,
    branch of a rollout, import. Outlives the session it names."""
    hidden = models.BooleanField(default=False)
    """Not in the list by itself: a branch of a rollout."""
    pinned = models.BooleanField(default=False)
    """Nothing of it is collected."""
    trimmed_at = models.DateTimeField(null=True, blank=True)
    """When the contents that it uses were last reduced to those that it needs."""
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=("team", "-id"), name="sessions_of_team_newest")]

    def __str__(self) -> str:
        return self.title


class SessionMeter(models.Model):
    """The hot row of a session: the event counter and what the whole tree has used and reserved.

    Its row lock orders the commits of a session, so commit order is `seq` order. Reserved amounts are what calls in
    flight may still use; a limit compares used + reserved.
    """

    session = models.OneToOneField(Session, on_delete=models.CASCADE, primary_key=True, related_name="meter")
    last_seq = models.BigIntegerField(default=0)
    last_call = models.IntegerField(default=0)
    nodes = models.IntegerField(default=0)
    steps = models.IntegerField(default=0)
    lm_calls = models.IntegerField(default=0)
    lm_calls_reserved = models.IntegerField(default=0)
    lm_calls_failed = models.IntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    tokens_reserved = models.BigIntegerField(default=0)
    cost_micro_usd = models.BigIntegerField(default=0)
    cost_reserved_micro_usd = models.BigIntegerField(default=0)
    calls_without_price = models.IntegerField(default=0)
    errors = models.IntegerField(default=0)
    output_bytes = models.BigIntegerField(default=0)
    sandbox_ms = models.BigIntegerField(default=0)
    gpu_ms = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"meter of {self.session_id}"
