"""A fixed cast for tests of who may what: one team with all its roles, and people who do not belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.test import Client

from rlmweb.teams.models import Role, Team
from runs.models import Session
from tests.factories import make_session, make_team, make_user


@dataclass(frozen=True)
class Cast:
    """`session` was started by the researcher. The stranger leads another team; the superuser is in none."""

    team: Team
    session: Session
    people: dict[str, Any]

    def client(self, name: str) -> Client:
        """Signed in as that person; `anonymous` is nobody."""
        client = Client()
        if name != "anonymous":
            client.force_login(self.people[name])
        return client


def make_cast() -> Cast:
    team = make_team()
    people = {role.value: make_user(team, role) for role in Role}
    people["mate"] = make_user(team, Role.RESEARCHER)
    people["stranger"] = make_user(make_team(), Role.LEAD)
    people["superuser"] = make_user(is_superuser=True, is_staff=True)
    people["inactive"] = make_user(team, Role.OWNER, is_active=False)
    return Cast(team, make_session(team, created_by=people["researcher"]), people)


SIGNED_IN = ("viewer", "researcher", "mate", "lead", "auditor", "admin", "owner", "stranger", "superuser")
SEES = ("viewer", "researcher", "mate", "lead")
"""Admins and owners only by a grant."""
STOPS = ("researcher", "lead", "admin")
STARTS = ("researcher", "mate", "lead", "stranger")
"""Each in a team of their own; the stranger in the other one."""
KEEPS_KEYS = ("lead", "admin", "owner")
