"""Factories: they fill every field but the one under test, and use the product's own services where there is one."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import Any

from django.contrib.auth import get_user_model

from rlmweb.teams.models import ORGANISATION_ROLES, Membership, Organisation, OrganisationMembership, Role, Team
from runs.blobs import blob_store
from runs.models import Context, Session, SessionMeter
from runs.services.config import ModelConfig, SessionConfig

_numbers = count(1)


def make_organisation(**fields: Any) -> Organisation:
    n = next(_numbers)
    return Organisation.objects.create(**{"slug": f"org-{n}", "name": f"Organisation {n}", **fields})


def make_team(organisation: Organisation | None = None, **fields: Any) -> Team:
    n = next(_numbers)
    organisation = organisation or make_organisation()
    return Team.objects.create(**{"slug": f"team-{n}", "name": f"Team {n}", "organisation": organisation, **fields})


def make_user(team: Team | None = None, role: str = Role.RESEARCHER, **fields: Any) -> Any:
    """With that role in the team, or over its organisation, as the role is held."""
    n = next(_numbers)
    user = get_user_model().objects.create_user(username=fields.pop("username", f"user-{n}"), **fields)
    if team is not None and role in ORGANISATION_ROLES:
        OrganisationMembership.objects.create(organisation=team.organisation, user=user, role=role)
    elif team is not None:
        Membership.objects.create(team=team, user=user, role=role)
    return user


def make_context(team: Team, text: str = "alpha\nbeta\ngamma\n", **fields: Any) -> Context:
    stored = blob_store().put(text.encode())
    return Context.objects.create(
        **{
            "team": team,
            "name": "letters.txt",
            "kind": "text",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "size_bytes": stored.size_bytes,
            **fields,
        }
    )


def scripted_config(script: str | dict[str, Any] = "tour", **fields: Any) -> SessionConfig:
    """A configuration whose models answer by `script`: a built-in one by name, or its rules."""
    extra = {} if isinstance(script, str) else {"script": script}
    name = script if isinstance(script, str) else "inline"
    model = ModelConfig(api="scripted", model=f"scripted:{name}", extra=extra)
    return SessionConfig(**{"root": model, **fields})


def make_session(team: Team | None = None, **fields: Any) -> Session:
    """A session's rows without its first step: for tests of reading. `start_session` is what starts one."""
    team = team or make_team()
    session = Session.objects.create(
        **{
            "team": team,
            "title": "How many letters?",
            "question": "How many letters?",
            "context": fields.pop("context", None) or make_context(team),
            "config": {"root": {"api": "scripted", "model": "scripted:tour"}},
            **fields,
        }
    )
    SessionMeter.objects.create(session=session, nodes=1)
    return session
