"""Branch rollouts: many forks of chosen steps, each scored."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Rollout(models.Model):
    """`branches_per_step` forks from each of `steps` of one node. Which step decided the answer shows in the scores."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"
        STOPPED = "stopped", "Stopped"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, related_name="rollouts")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="rollouts"
    )
    node_number = models.IntegerField(default=0)
    steps = models.JSONField(default=list)
    """Step numbers; a branch starts from the state at the end of that step (0: from the start)."""
    branches_per_step = models.IntegerField()
    scorer = models.JSONField(default=dict)
    changes = models.JSONField(default=dict)
    """What every branch changes (`runs.replay.changes.Changes` as plain data); empty: nothing but the draw."""
    max_cost_usd = models.FloatField(null=True, blank=True)
    """Of all branches and their scoring together; None: each branch has its own limit only."""
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    error_type = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"rollout {self.uuid}"


class RolloutBranch(models.Model):
    """One fork of a rollout and its score (0 to 1; None while it runs or when it could not be scored)."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="branches")
    step_number = models.IntegerField()
    index = models.IntegerField()
    session = models.ForeignKey(
        "runs.Session", on_delete=models.SET_NULL, null=True, blank=True, related_name="rollout_branches"
    )
    score = models.FloatField(null=True, blank=True)
    note = models.TextField(blank=True)
    """Why it has this score, or none."""
    scored_at = models.DateTimeField(null=True, blank=True)
    scoring_micro_usd = models.BigIntegerField(null=True, default=0, db_default=0)
    """What a judge cost; None: not known."""

    class Meta:
        ordering = ("rollout", "step_number", "index")
        constraints = [
            models.UniqueConstraint(fields=("rollout", "step_number", "index"), name="one_branch_per_place"),
        ]

    def __str__(self) -> str:
        return f"branch {self.index} from step {self.step_number}"
