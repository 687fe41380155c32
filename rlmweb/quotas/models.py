"""Quotas, what is used of them, and the ledger from which that follows.

Scopes are named by value, so that what was used outlives who used it. Only `rlmweb.quotas.booking` writes balances and the
ledger, in one statement; the database refuses to change entries (migration 0002).
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from rlmweb.quotas.scopes import Scope, ScopeKind


class Period(models.TextChoices):
    """UTC. `none`: the limit is for what is held at the same time, or for each session."""

    DAY = "day", "a day"
    MONTH = "month", "a month"
    NONE = "none", "at any time"


class Quota(models.Model):
    """A limit. Without one, use is counted all the same."""

    class OnExceed(models.TextChoices):
        PAUSE = "pause", "Wait until there is room"
        STOP = "stop", "End with the partial answer"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    scope_kind = models.CharField(max_length=16, choices=ScopeKind.choices)
    scope_uuid = models.UUIDField()
    resource = models.CharField(max_length=48)
    limit = models.BigIntegerField()
    soft_percent = models.PositiveSmallIntegerField(default=80)
    """From here on people are warned."""
    period = models.CharField(max_length=8, choices=Period.choices)
    on_exceed = models.CharField(max_length=8, choices=OnExceed.choices, default=OnExceed.PAUSE)
    note = models.CharField(max_length=200, blank=True)
    set_by = models.CharField(max_length=200)
    set_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("scope_kind", "resource", "period")
        constraints = [
            models.UniqueConstraint(
                fields=("scope_kind", "scope_uuid", "resource", "period"), name="one_quota_per_scope_and_resource"
            ),
            models.CheckConstraint(condition=Q(limit__gte=0), name="quota_limit_is_not_negative"),
            models.CheckConstraint(
                condition=Q(soft_percent__gte=1, soft_percent__lte=100), name="quota_soft_percent_is_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.limit} {self.resource} per {self.period} for {self.scope_kind} {self.scope_uuid}"

    @property
    def scope(self) -> Scope:
        return Scope(self.scope_kind, self.scope_uuid)


class Balance(models.Model):
    """What one scope has used of one resource since `period_start`, and what calls and sandboxes in flight may still use.

    Derived: `manage.py quotas rebuild` makes it again from the ledger.
    """

    scope_kind = models.CharField(max_length=16)
    scope_uuid = models.UUIDField()
    resource = models.CharField(max_length=48)
    period = models.CharField(max_length=8)
    period_start = models.DateField()
    """1970-01-01 for what has no period."""
    used = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=("scope_uuid", "resource", "period", "period_start", "scope_kind"), name="one_balance_per_period"
            ),
            # A second release of the same reservation fails here, if it was not refused before.
            models.CheckConstraint(condition=Q(used__gte=0, reserved__gte=0), name="balance_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.used}+{self.reserved} {self.resource} since {self.period_start} of {self.scope_kind}"


class LedgerEntry(models.Model):
    """One booking of one resource; it counts in the installation and in every scope that it names.

    `day`: the UTC day (and with it the month) in which it counts: that of the reservation, so that what was reserved
    before midnight is given back where it was taken.
    """

    class Kind(models.TextChoices):
        RESERVE = "reserve", "Reserve"
        SETTLE = "settle", "Settle"
        RELEASE = "release", "Release"

    at = models.DateTimeField(db_default=Now(), editable=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    reservation = models.UUIDField()
    """Of a `Reservation`; of the session for its model calls, which carry their reservations themselves."""
    session_uuid = models.UUIDField(null=True)
    organisation_uuid = models.UUIDField(null=True)
    team_uuid = models.UUIDField(null=True)
    user_uuid = models.UUIDField(null=True)
    key_uuid = models.UUIDField(null=True)
    resource = models.CharField(max_length=48)
    reserved = models.BigIntegerField()
    """By how much the reserved amount changed."""
    used = models.BigIntegerField()
    day = models.DateField()
    price_version = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("id",)
        indexes = [
            models.Index(fields=("session_uuid", "resource"), name="ledger_of_a_session"),
            # What would a limit have done in the last days?
            models.Index(fields=("resource", "day"), name="ledger_of_a_day"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reserved:+d}/{self.used:+d} {self.resource}"


class Reservation(models.Model):
    """What somebody holds until it is settled or released: a sandbox its slot and its time.

    The lease is a promise to come back: whoever holds it renews it, and what nobody renews is given back.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        SETTLED = "settled", "Settled"
        RELEASED = "released", "Released"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    holder = models.CharField(max_length=100)
    """Who comes back for it; the same holder has one open reservation at most."""
    bound_to = models.UUIDField(null=True)
    """The sandbox record, once there is one."""
    session_uuid = models.UUIDField(null=True, db_index=True)
    scopes = models.JSONField()
    """Kind -> uuid."""
    holds = models.JSONField()
    """Resource -> amount."""
    day = models.DateField()
    price_version = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    lease_expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=("holder",), condition=Q(state="open"), name="one_open_reservation_per_holder"
            )
        ]
        indexes = [models.Index(F("lease_expires_at"), condition=Q(state="open"), name="open_reservations_by_lease")]

    def __str__(self) -> str:
        return f"{self.state} {self.holds} of {self.holder}"


class Payer(models.Model):
    """In which scopes a session counts, as it was when it started."""

    session_uuid = models.UUIDField(primary_key=True)
    scopes = models.JSONField()
    """Kind -> uuid."""

    def __str__(self) -> str:
        return str(self.session_uuid)


class Waiting(models.Model):
    """A step that was put back because a quota has no room for it, and what it waits for."""

    step_uuid = models.UUIDField(primary_key=True)
    session_uuid = models.UUIDField(db_index=True)
    scope_kind = models.CharField(max_length=16)
    scope_uuid = models.UUIDField()
    resource = models.CharField(max_length=48)
    period = models.CharField(max_length=8)
    requested = models.BigIntegerField()
    sentence = models.TextField()
    since = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.sentence
