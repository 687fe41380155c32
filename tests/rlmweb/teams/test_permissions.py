"""The table of rights, and that everything about it takes effect at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from rlmweb.teams.models import ApiToken, ContentGrant, Membership, OrganisationMembership, Role
from rlmweb.teams.permissions import (
    GRANTS,
    SCOPES,
    Permission,
    allows,
    lacks_second_factor,
    organisations_with,
    roles_in,
    teams_with,
)
from rlmweb.teams.tokens import make_token, user_of_api_token
from tests.cast import Cast, make_cast
from tests.factories import make_team, make_user

pytestmark = pytest.mark.django_db
P = Permission
WRITES = {P.START, P.STOP_ANY, P.DELETE_ANY, P.SHARE, P.SHARE_PUBLIC, P.KEEP_KEYS, P.SET_RULES, P.KEEP_PEOPLE, P.ERASE}


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.mark.parametrize("permission", list(Permission))
@pytest.mark.parametrize("role", list(Role))
def test_a_role_allows_in_its_own_organisation_what_the_table_says_and_nothing_elsewhere(
    cast: Cast, role: Role, permission: Permission
) -> None:
    user, granted = cast.people[role.value], permission in GRANTS[role]
    assert allows(user, permission, cast.team) == granted
    assert list(teams_with(user, permission)) == ([cast.team] if granted else [])
    sibling, foreign = make_team(cast.team.organisation), make_team()
    over_all = granted and role in (Role.AUDITOR, Role.ADMIN, Role.OWNER)
    assert allows(user, permission, sibling) == over_all
    assert allows(user, permission, cast.team.organisation) == over_all
    assert not allows(user, permission, foreign)
    assert not allows(user, permission, foreign.organisation)


@pytest.mark.parametrize("permission", list(Permission))
def test_nobody_else_may_anything(cast: Cast, permission: Permission) -> None:
    for user in (AnonymousUser(), cast.people["stranger"], cast.people["superuser"], cast.people["inactive"]):
        assert not allows(user, permission, cast.team)
        assert not allows(user, permission, cast.team.organisation)


def test_nobody_both_acts_and_erases_the_trace() -> None:
    acts = {P.START, P.STOP_ANY, P.DELETE_ANY, P.SHARE_PUBLIC}
    assert [role for role, granted in GRANTS.items() if P.ERASE in granted and granted & acts] == []
    assert not GRANTS[Role.AUDITOR] & WRITES
    assert not any(P.SEE_CONTENT in GRANTS[role] for role in (Role.AUDITOR, Role.ADMIN, Role.OWNER))


def test_roles_end_at_once(cast: Cast) -> None:
    lead, admin = cast.people["lead"], cast.people["admin"]
    Membership.objects.filter(user=lead).update(role=Role.VIEWER)
    assert not allows(lead, P.START, cast.team)
    OrganisationMembership.objects.filter(user=admin).delete()
    assert not allows(admin, P.SET_RULES, cast.team.organisation)


def test_without_a_needed_second_factor_no_role_counts(cast: Cast) -> None:
    lead, owner = cast.people["lead"], cast.people["owner"]
    organisation = cast.team.organisation
    organisation.require_mfa = True
    organisation.save()
    Authenticator.objects.create(user=lead, type=Authenticator.Type.RECOVERY_CODES, data={})
    for user in (lead, owner):
        assert lacks_second_factor(user)
        assert not teams_with(user, P.SEE_FACTS).exists()
        assert not organisations_with(user, P.SEE_PEOPLE).exists()
    for user, kind in ((lead, Authenticator.Type.TOTP), (owner, Authenticator.Type.WEBAUTHN)):
        Authenticator.objects.create(user=user, type=kind, data={})
        assert not lacks_second_factor(user)
        assert allows(user, P.SEE_FACTS, cast.team)
    assert not lacks_second_factor(cast.people["stranger"])


def test_a_token_reaches_its_team_its_scopes_and_its_owners_role(cast: Cast) -> None:
    user = cast.people["researcher"]
    other = make_team(cast.team.organisation)
    Membership.objects.create(user=user, team=other, role=Role.LEAD)
    for scope in ApiToken.Scope:
        _, plain = make_token(user, cast.team, scope.value, scopes=[scope.value])
        bearer: Any = user_of_api_token(plain)
        for permission in Permission:
            wanted = permission in GRANTS[Role.RESEARCHER] and SCOPES[permission] == scope
            assert allows(bearer, permission, cast.team) == wanted, permission
            assert not allows(bearer, permission, other)


def test_a_token_is_for_no_organisation_as_a_whole(cast: Cast) -> None:
    owner = cast.people["owner"]
    _, plain = make_token(owner, cast.team, "all")
    bearer: Any = user_of_api_token(plain)
    assert not organisations_with(bearer, P.SET_RULES).exists()
    assert organisations_with(owner, P.SET_RULES).exists()


@pytest.mark.parametrize("scopes", [[], ["everything"], ["read", "root"]])
def test_a_token_without_a_known_scope_is_not_made(cast: Cast, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scopes of a token"):
        make_token(cast.people["lead"], cast.team, "bad", scopes=scopes)
    assert not ApiToken.objects.exists()


def test_a_grant_shows_content_of_one_team_until_it_ends(cast: Cast) -> None:
    auditor, sibling = cast.people["auditor"], make_team(cast.team.organisation)
    hour = timedelta(hours=1)
    row = ContentGrant.objects.create(team=cast.team, user=auditor, reason="case 7", expires_at=timezone.now() + hour)
    assert allows(auditor, P.SEE_CONTENT, cast.team)
    assert roles_in(auditor, cast.team) == ["auditor", "granted"]
    assert not allows(auditor, P.SEE_CONTENT, sibling)
    assert not allows(auditor, P.START, cast.team)
    ContentGrant.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    assert not allows(auditor, P.SEE_CONTENT, cast.team)


def test_two_roles_of_one_person_add_up(cast: Cast) -> None:
    owner = cast.people["owner"]
    Membership.objects.create(user=owner, team=cast.team, role=Role.LEAD)
    assert allows(owner, P.SEE_CONTENT, cast.team)
    assert allows(owner, P.SET_RULES, cast.team.organisation)
    assert roles_in(owner, cast.team) == ["lead", "owner"]


def test_a_question_about_rights_is_one_query(cast: Cast, django_assert_num_queries: object) -> None:
    user = make_user(cast.team, Role.LEAD)
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert allows(user, P.SEE_CONTENT, cast.team)
