"""Writes of the teams room: the default team, and the one person of a single-user installation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from rlmweb.teams.models import Membership, Role, Team

DEFAULT_TEAM = "default"
LOCAL_OWNER = "local"


def ensure_default_team() -> Team:
    """The team that every installation has."""
    team, _ = Team.objects.get_or_create(slug=DEFAULT_TEAM, defaults={"name": "Default team"})
    return team


@transaction.atomic
def ensure_local_owner() -> Any:
    """The one person of a single-user installation, owner of the default team. Has no password: see `signin`."""
    users = get_user_model().objects
    user = users.filter(username=LOCAL_OWNER).first()
    if user is None:
        user = users.create_superuser(username=LOCAL_OWNER, email="", password=None)
    membership = {"role": Role.OWNER}
    Membership.objects.get_or_create(team=ensure_default_team(), user=user, defaults=membership)
    return user


def prepare_installation(**_: object) -> None:
    """After the migrations: what an installation cannot be without."""
    ensure_default_team()
    if settings.SINGLE_USER:
        ensure_local_owner()
