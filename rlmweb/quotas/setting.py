"""Quotas are set and removed here, with an entry in the audit log that says what they were before."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from rlmweb.audit.record import Particulars, record
from rlmweb.quotas.models import Quota
from rlmweb.quotas.scopes import Scope

_FIELDS = ("limit", "soft_percent", "on_exceed", "note")


def set_quota(
    scope: Scope,
    resource: str,
    period: str,
    *,
    limit: int,
    soft_percent: int,
    on_exceed: str,
    note: str,
    actor: str,
    source: str = "web",
) -> Quota:
    """Takes effect with the next reservation. What is used or reserved already stays, even if it is more."""
    values = {"limit": limit, "soft_percent": soft_percent, "on_exceed": on_exceed, "note": note}
    key: dict[str, Any] = {"scope_kind": scope.kind, "scope_uuid": scope.uuid, "resource": resource, "period": period}
    with transaction.atomic():
        before = Quota.objects.select_for_update().filter(**key).first()
        was = _values(before)
        quota, _ = Quota.objects.update_or_create(**key, defaults={**values, "set_by": actor})
        changes = {name: [was.get(name), value] for name, value in values.items() if was.get(name) != value}
        _record("quota.set", quota, actor, source, changes)
    return quota


def remove_quota(quota: Quota, *, actor: str, source: str = "web") -> None:
    """Use is counted on."""
    with transaction.atomic():
        _record("quota.remove", quota, actor, source, {name: [value, None] for name, value in _values(quota).items()})
        quota.delete()


def _values(quota: Quota | None) -> dict[str, Any]:
    return {name: getattr(quota, name) for name in _FIELDS} if quota is not None else {}


def _record(action: str, quota: Quota, actor: str, source: str, changes: dict[str, Any]) -> None:
    record(
        action,
        actor=actor,
        object_type="quota",
        object_id=quota.uuid,
        team_uuid=quota.scope_uuid if quota.scope_kind in ("team", "organisation") else None,
        source=source,
        details={
            "scope": quota.scope_kind,
            "scope_uuid": str(quota.scope_uuid),
            "resource": quota.resource,
            "period": quota.period,
        },
        particulars=Particulars(changes=changes),
    )
