"""Who calls the API: a person with a session cookie (with CSRF), or a bearer of a token."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer, SessionAuth

from rlmweb.teams.signin import user_of_token
from rlmweb.teams.tokens import user_of_api_token


class TokenAuth(HttpBearer):
    """`Authorization: Bearer <token>`: a token of a person or, in a single-user installation, the one that `up` prints."""

    def authenticate(self, request: HttpRequest, token: str) -> Any | None:
        user = user_of_api_token(token) or user_of_token(token)
        if user is not None:
            request.user = user
        return user


AUTH = [TokenAuth(), SessionAuth(csrf=True)]
