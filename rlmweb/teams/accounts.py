"""What django-allauth is told about accounts here: who may make one, and how secrets of second factors are kept."""

from __future__ import annotations

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.http import HttpRequest

from rlmweb.sealed import seal, unseal
from rlmweb.teams.invitations import carried

FOR_SECOND_FACTORS = "second factor"


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]  # the library has no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """For people who carry an invitation, and nobody else."""
        return not settings.SINGLE_USER and carried(request) is not None


class SingleSignOn(DefaultSocialAccountAdapter):  # type: ignore[misc]  # the library has no types
    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Whoever the organisation's own identity provider knows: an account without a role sees nothing."""
        return not settings.SINGLE_USER


class SecondFactors(DefaultMFAAdapter):  # type: ignore[misc]  # the library has no types
    """Secrets of authenticator apps and recovery codes, encrypted with RLMWEB_KEYS."""

    def encrypt(self, text: str) -> str:
        return base64.b64encode(seal(text, bound_to=FOR_SECOND_FACTORS)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return str(unseal(base64.b64decode(encrypted_text), bound_to=FOR_SECOND_FACTORS))
