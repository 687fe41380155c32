"""Who sees and who writes a team's rows of the catalogue: those who see its providers, and those who keep its keys."""

from __future__ import annotations

from django.db.models import QuerySet

from rlmweb.teams.models import Team
from rlmweb.teams.permissions import Permission, User, teams_with


def teams_of(person: User) -> QuerySet[Team]:
    """Whose rows `person` sees: rows are about vendors, so every member does."""
    return teams_with(person, Permission.SEE_RULES)


def teams_written_by(person: User) -> QuerySet[Team]:
    return teams_with(person, Permission.KEEP_KEYS)
