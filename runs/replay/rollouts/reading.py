"""Rollouts for people who may see them."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404

from runs.access import Action, User, session_for
from runs.models import Rollout


def rollout_for(user: User, uuid: UUID, action: Action = "view") -> Rollout:
    """Whoever sees the session sees its rollouts. Raises `Http404`."""
    rollout = Rollout.objects.select_related("session", "created_by").filter(uuid=uuid).first()
    if rollout is None:
        raise Http404
    rollout.session = session_for(user, rollout.session.uuid, action)
    return rollout
