"""Secrets at rest: encrypted with RLMWEB_KEYS and bound to what they were entered for.

What a secret is for is sealed in with it. Whoever can change a row in the database, but has no encryption key, cannot
make a worker use a stored secret elsewhere.
"""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

SHOWN_CHARS = 4
LEAST_CHARS_TO_SHOW = 12


class Unreadable(ValueError):
    """The stored secret cannot be decrypted: RLMWEB_KEYS has changed. Enter it again."""


class SealedForAnother(ValueError):
    """The stored secret was entered for something else than it would now be used for."""


def seal(secret: Any, *, bound_to: str) -> bytes:
    """The encrypted form to store of a JSON value. Raises `ImproperlyConfigured` when RLMWEB_KEYS is empty."""
    return _fernet().encrypt(json.dumps({"key": secret, "for": bound_to}).encode())


def unseal(sealed: bytes, *, bound_to: str) -> Any:
    """Raises `Unreadable`, or `SealedForAnother`."""
    try:
        plain = json.loads(_fernet().decrypt(bytes(sealed)))
    except InvalidToken as error:
        raise Unreadable(Unreadable.__doc__) from error
    if plain["for"] != bound_to:
        raise SealedForAnother(SealedForAnother.__doc__)
    return plain["key"]


def rotate(sealed: bytes) -> bytes:
    """The same secret under the first of RLMWEB_KEYS. Raises `Unreadable`."""
    try:
        return _fernet().rotate(bytes(sealed))
    except InvalidToken as error:
        raise Unreadable(Unreadable.__doc__) from error


def hint(secret: str) -> str:
    """What pages may show of a secret: its last characters, and of a short one nothing."""
    return f"...{secret[-SHOWN_CHARS:]}" if len(secret) >= LEAST_CHARS_TO_SHOW else "..."


def _fernet() -> MultiFernet:
    if not settings.SECRET_KEYS_AT_REST:
        raise ImproperlyConfigured("RLMWEB_KEYS is empty, so keys of teams cannot be stored or read.")
    return MultiFernet([Fernet(key) for key in settings.SECRET_KEYS_AT_REST])
