"""Who can see what: the table of the people's page and the file of an access review."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from django.utils import timezone

from rlmweb.csv_cells import neutral
from rlmweb.teams.models import ApiToken, ContentGrant, Membership, Organisation, OrganisationMembership, Team

COLUMNS = ("person", "e-mail", "role", "where", "since", "last sign-in", "second factor", "tokens", "token last used")


@dataclass(frozen=True, slots=True)
class Held:
    """One role of one person. `team` is None for a role over the organisation."""

    user: Any
    role: str
    team: Team | None
    since: datetime
    second_factor: bool
    tokens: int
    token_used_at: datetime | None


def rows_of(organisation: Organisation, teams: Iterable[Team], *, whole: bool) -> list[Held]:
    """By person; roles over the organisation only when the `whole` of it is shown."""
    in_teams = list(Membership.objects.filter(team__in=teams).select_related("user", "team"))
    above = (
        list(OrganisationMembership.objects.filter(organisation=organisation).select_related("user")) if whole else []
    )
    users = {held.user_id for held in in_teams} | {held.user_id for held in above}
    factors = set(_second_factors(users))
    tokens: dict[tuple[int, int], list[ApiToken]] = {}
    for token in ApiToken.objects.filter(user_id__in=users, team__in=teams):
        tokens.setdefault((token.user_id, token.team_id), []).append(token)
    found = [_held(each, None, [], factors) for each in above]
    found += [_held(each, each.team, tokens.get((each.user_id, each.team_id), []), factors) for each in in_teams]
    return sorted(found, key=lambda held: (held.user.get_username(), held.team is not None, str(held.team)))


def live_grants(organisation: Organisation) -> list[ContentGrant]:
    found = ContentGrant.objects.filter(team__organisation=organisation, expires_at__gt=timezone.now())
    return list(found.select_related("user", "team", "granted_by").order_by("expires_at"))


def review_csv(organisation: Organisation) -> str:
    """Formula-neutral; one row for each role, and one for each look at content that is open now."""
    out = io.StringIO()
    write = csv.writer(out)
    write.writerow(COLUMNS)
    for held in rows_of(organisation, organisation.teams.all(), whole=True):
        where = held.team.name if held.team else organisation.name
        sign_in, used = _day(held.user.last_login), _day(held.token_used_at)
        factor = "yes" if held.second_factor else "no"
        cells = (held.user.get_username(), held.user.email, held.role, where, _day(held.since), sign_in, factor)
        write.writerow([neutral(cell) for cell in (*cells, held.tokens, used)])
    for grant in live_grants(organisation):
        where, until = grant.team.name, f"until {grant.expires_at:%Y-%m-%d %H:%M}"
        who = (grant.user.get_username(), grant.user.email, f"content, {until}", where, _day(grant.created_at))
        write.writerow([neutral(cell) for cell in (*who, _day(grant.user.last_login), "", "", "")])
    return out.getvalue()


def _held(row: Any, team: Team | None, tokens: list[ApiToken], factors: set[int]) -> Held:
    used = max((token.last_used_at for token in tokens if token.last_used_at), default=None)
    return Held(row.user, row.role, team, row.created_at, row.user_id in factors, len(tokens), used)


def _second_factors(users: set[int]) -> Iterable[int]:
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    found: Iterable[int] = Authenticator.objects.filter(user_id__in=users, type__in=kinds).values_list(
        "user_id", flat=True
    )
    return found


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""
