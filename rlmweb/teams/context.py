"""What the bar on top of every page needs to know."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from rlmweb.teams.permissions import Permission, teams_with


def for_the_bar(request: HttpRequest) -> dict[str, Any]:
    """Asked only by pages that show the bar. A single-user installation has no people to look after, and nobody signs in or
    out of it."""
    if settings.SINGLE_USER or not hasattr(request, "user"):
        return {"sees_people": False, "signs_in": False}
    sees_people = SimpleLazyObject(lambda: teams_with(request.user, Permission.SEE_PEOPLE).exists())
    return {"sees_people": sees_people, "signs_in": True}
