"""What every installation has: the default organisation with its team, and the one person of a single-user one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from rlmweb.teams.models import Membership, Organisation, OrganisationMembership, Role, Team

DEFAULT_TEAM = "default"
DEFAULT_ORGANISATION = "default"
LOCAL_OWNER = "local"


def ensure_default_team() -> Team:
    """The team that every installation has."""
    team = Team.objects.filter(slug=DEFAULT_TEAM).first()
    if team is None:
        organisation, _ = Organisation.objects.get_or_create(
            slug=DEFAULT_ORGANISATION, defaults={"name": "Default organisation"}
        )
        defaults = {"name": "Default team", "organisation": organisation}
        team, _ = Team.objects.get_or_create(slug=DEFAULT_TEAM, defaults=defaults)
    return team


@transaction.atomic
def ensure_local_owner() -> Any:
    """The one person of a single-user installation: owner, and lead of the default team, so that nothing is closed to
    them. Has no password: see `signin`."""
    users = get_user_model().objects
    user = users.filter(username=LOCAL_OWNER).first()
    if user is None:
        user = users.create_superuser(username=LOCAL_OWNER, email="", password=None)
    team = ensure_default_team()
    Membership.objects.get_or_create(team=team, user=user, defaults={"role": Role.LEAD})
    owner = {"role": Role.OWNER}
    OrganisationMembership.objects.get_or_create(organisation=team.organisation, user=user, defaults=owner)
    return user


def prepare_installation(**_: object) -> None:
    """After the migrations: what an installation cannot be without."""
    ensure_default_team()
    if settings.SINGLE_USER:
        ensure_local_owner()
