"""Tokens with which programs call the API. Only a hash is stored: a token is shown once, when it is made."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from rlmweb.audit.record import record as audit
from rlmweb.teams.models import ApiToken, Team

PREFIX = "rlm_"
ALL_SCOPES = tuple(ApiToken.Scope.values)
TOKEN_BYTES = 32
USE_NOTED_EVERY_S = 60
"""`last_used_at` is written at most this often: a client that polls must not cost a write per call."""


@transaction.atomic
def make_token(
    user: Any,
    team: Team,
    name: str,
    *,
    scopes: Sequence[str] = ALL_SCOPES,
    days: int | None = 90,
    source: str = "web",
) -> tuple[ApiToken, str]:
    """The row and the token itself, which nobody can read again. `days` until it expires; None: never.

    Raises `ValueError` for no or an unknown scope.
    """
    if not scopes or set(scopes) - set(ALL_SCOPES):
        raise ValueError(f"The scopes of a token are some of {', '.join(ALL_SCOPES)}.")
    plain = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    expires_at = timezone.now() + timedelta(days=days) if days is not None else None
    row = ApiToken.objects.create(
        user=user, team=team, name=name, scopes=list(scopes), token_sha256=_hash(plain), expires_at=expires_at
    )
    _audit("token.create", row, user, source)
    return row, plain


@transaction.atomic
def revoke_token(row: ApiToken, *, user: Any, source: str = "web") -> None:
    _audit("token.revoke", row, user, source)
    row.delete()


def user_of_api_token(plain: str) -> Any | None:
    """The person the token belongs to, marked with it (`permissions.token_of`), so that no more is allowed than the token
    is for. None when it is unknown, expired, or its owner may not sign in."""
    if not plain.startswith(PREFIX):
        return None
    row = ApiToken.objects.select_related("user", "team").filter(token_sha256=_hash(plain)).first()
    now = timezone.now()
    if row is None or not row.user.is_active or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.last_used_at is None or (now - row.last_used_at).total_seconds() > USE_NOTED_EVERY_S:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    user: Any = row.user
    user.api_token = row
    return user


def _hash(plain: str) -> str:
    """A plain hash is enough for 256 random bits: there is nothing to guess."""
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()


def _audit(action: str, row: ApiToken, user: Any, source: str) -> None:
    audit(
        action,
        actor=user.get_username(),
        object_type="token",
        object_id=row.uuid,
        team_uuid=row.team.uuid,
        source=source,
        details={"name": row.name, "scopes": row.scopes},
    )
