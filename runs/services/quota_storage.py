"""Stored contexts and quotas: counted when they come, and measured once a day, since they go by many ways."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Sum

from rlmweb.quotas.models import LedgerEntry
from rlmweb.quotas.scopes import scopes_of, user_uuid
from rlmweb.quotas.services import record_use
from rlmweb.teams.models import Team
from runs.access import Actor
from runs.models import Context
from runs.services.quota_scopes import scopes_of_actor

STORAGE = "storage_bytes"


def count_context(context: Context, actor: Actor) -> None:
    """Inside the transaction that stores it, at its end. Raises `QuotaExceeded`."""
    record_use(scopes_of_actor(context.team, actor.user), {STORAGE: context.size_bytes}, reservation=context.uuid)


def measure_storage() -> int:
    """Book the difference between what is stored and what is counted, for each team and person. Returns how many bookings.

    What forks take over from their sources is nobody's new content and is not counted.
    """
    booked = 0
    stored, counted = _stored(), _counted()
    for team_pk, user_pk in stored.keys() | _known(counted):
        team = Team.objects.select_related("organisation").get(pk=team_pk)
        user = User.objects.filter(pk=user_pk).first() if user_pk is not None else None
        key = (team.uuid, user_uuid(user_pk) if user_pk is not None else None)
        missing = stored.get((team_pk, user_pk), 0) - counted.get(key, 0)
        if missing:
            record_use(scopes_of(team, user), {STORAGE: missing}, strict=False)
            booked += 1
    return booked


def _stored() -> dict[tuple[int, int | None], int]:
    rows = Context.objects.exclude(source="fork").exclude(sha256="").values_list("team_id", "created_by_id")
    return {(team, user): size for team, user, size in rows.annotate(size=Sum("size_bytes")).order_by()}


def _counted() -> dict[tuple[UUID | None, UUID | None], int]:
    rows = LedgerEntry.objects.filter(resource=STORAGE).values_list("team_uuid", "user_uuid")
    return {(team, user): used for team, user, used in rows.annotate(total=Sum("used")).order_by()}


def _known(counted: dict[tuple[UUID | None, UUID | None], int]) -> set[tuple[int, int | None]]:
    """Teams and people of what is counted, as far as they are still there."""
    teams = {team.uuid: team.pk for team in Team.objects.filter(uuid__in=[team for team, _ in counted])}
    people: dict[UUID | None, int | None] = {user_uuid(pk): pk for pk in User.objects.values_list("pk", flat=True)}
    people[None] = None
    return {(teams[team], people[user]) for team, user in counted if team in teams and user in people}
