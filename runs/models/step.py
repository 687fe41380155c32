"""Steps: the unit of durable execution."""

from __future__ import annotations

import uuid

from django.db import models


class Step(models.Model):
    """One turn of a node, owned by at most one worker at a time.

    A worker owns the step while `lease_token` is its own: claiming, renewing and every commit compare it (the fence),
    so that a worker that was thought dead cannot write after another has taken over.

    status: `ready` (to be claimed), `running` (claimed, lease runs), `waiting` (for children; no worker), then final.
    """

    class Status(models.TextChoices):
        READY = "ready", "Ready"
        RUNNING = "running", "Running"
        WAITING = "waiting", "Waiting for children"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"
        STOPPED = "stopped", "Stopped"
        LIMITED = "limited", "Ended by a limit"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, related_name="steps")
    node = models.ForeignKey("runs.Node", on_delete=models.CASCADE, related_name="steps")
    number = models.IntegerField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.READY)
    attempt = models.IntegerField(default=0)
    crashes = models.IntegerField(default=0)
    """Times it lost its worker."""
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=128, blank=True)
    state = models.JSONField(default=dict)
    """What the engine has done of this step (`runs.engine.state.StepState`) as plain data."""
    node_state = models.JSONField(default=dict, db_default={})
    """The engine's state of the node at the end of this step (`NodeState`): what a fork goes on from."""
    inherited = models.BooleanField(default=False, db_default=False)
    """Done by the session that this one was forked from."""
    error_type = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("node", "number")
        constraints = [models.UniqueConstraint(fields=("node", "number"), name="one_step_per_number")]
        indexes = [
            # The reconciler's question: which steps should run and have no living worker?
            models.Index(
                fields=("lease_expires_at",),
                condition=models.Q(status__in=("ready", "running", "waiting")),
                name="unfinished_steps_by_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"step {self.number} of node {self.node_id}"
