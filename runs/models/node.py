"""Recursion nodes and their conversations."""

from __future__ import annotations

import uuid

from django.db import models


class Node(models.Model):
    """One recursive call in a session's tree. `number` is 0 for the root and counts up within the session."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        LIMITED = "limited", "Ended by a limit"
        STOPPED = "stopped", "Stopped"
        FAILED = "failed", "Failed"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    session = models.ForeignKey("runs.Session", on_delete=models.CASCADE, related_name="nodes")
    number = models.IntegerField()
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, blank=True, related_name="children")
    parent_step = models.ForeignKey(
        "runs.Step", on_delete=models.CASCADE, null=True, blank=True, related_name="children"
    )
    cell = models.IntegerField(default=0)
    subcall = models.CharField(max_length=32, blank=True)
    index = models.IntegerField(default=0)
    depth = models.IntegerField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    prompt_sha256 = models.CharField(max_length=64, blank=True)
    """The prompt of a child is its context, kept as a blob; the root's context is the session's."""
    prompt_chars = models.BigIntegerField(default=0)
    answer_sha256 = models.CharField(max_length=64, blank=True)
    answer_partial = models.BooleanField(default=False)
    error_type = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    state = models.JSONField(default=dict)
    """What the engine carries from step to step (`runs.engine.state.NodeState`) as plain data."""
    sandbox_ref = models.TextField(blank=True)
    sandbox_uuid = models.UUIDField(null=True, blank=True)
    sandbox_generation = models.IntegerField(default=0)
    """Sandboxes this node has had: part of the key that makes their creation safe to retry."""
    base_snapshot = models.UUIDField(null=True, blank=True)
    """The snapshot that this node's first sandbox starts from (a fork), or None: from its context."""
    base_code = models.TextField(blank=True)
    """Code run once after `base_snapshot` is restored: the variables that the fork changed."""
    runner_seq = models.BigIntegerField(default=0)
    """Newest frame of the runner that is on record: committed together with the events made from it."""
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("session", "number")
        indexes = [
            # Asked each time a child ends: does its parent's step wait for another?
            models.Index(
                fields=("parent_step",), condition=models.Q(status="running"), name="running_children_of_step"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=("session", "number"), name="one_node_per_number"),
            # Opening the children of a sub-call twice (a step taken up again) finds the first ones.
            models.UniqueConstraint(
                fields=("parent_step", "cell", "subcall", "index"),
                condition=models.Q(parent_step__isnull=False),
                name="one_child_per_prompt",
            ),
        ]

    def __str__(self) -> str:
        return f"node {self.number}"


class NodeMessage(models.Model):
    """One message of a node's conversation, stored once. `epoch` counts compactions: a prompt is the latest epoch."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="messages")
    epoch = models.IntegerField(default=0)
    position = models.IntegerField()
    step_number = models.IntegerField(default=0)
    role = models.CharField(max_length=16)
    content = models.TextField()

    class Meta:
        ordering = ("node", "epoch", "position")
        constraints = [models.UniqueConstraint(fields=("node", "epoch", "position"), name="one_message_per_position")]

    def __str__(self) -> str:
        return f"{self.role} message {self.position}"
