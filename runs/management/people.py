"""Who gives a command."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from rlmweb.teams.services import ensure_local_owner
from runs.services.config import InvalidConfig


def user_named(name: str) -> User:
    """The user, or without a name the only one there is. Raises `InvalidConfig`."""
    if not name and settings.SINGLE_USER:
        owner: User = ensure_local_owner()
        return owner
    user: User | None = get_user_model().objects.filter(username=name).first()
    if user is None:
        raise InvalidConfig(f"There is no user {name!r}. Say who starts the session: --user NAME.")
    return user
