"""Teams' API keys at rest: encrypted, and bound to the endpoint that they were entered for.

The endpoint is sealed in with the key. Whoever can change a base URL in the database, but has no encryption key, cannot
make the worker send a stored key elsewhere.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from runs.lm.errors import LmAuthFailed

SHOWN_CHARS = 4
LEAST_CHARS_TO_SHOW = 12


class KeyUnreadable(LmAuthFailed):
    """The stored key cannot be decrypted: RLMWEB_KEYS has changed. Enter the key again."""


def seal_key(key: str, *, api: str, base_url: str) -> bytes:
    """The encrypted form to store. Raises `ImproperlyConfigured` when RLMWEB_KEYS is empty."""
    return _fernet().encrypt(json.dumps({"key": key, "for": _endpoint(api, base_url)}).encode())


def open_key(sealed: bytes, *, api: str, base_url: str) -> str:
    """The key, for the endpoint it was sealed for. Raises `KeyUnreadable`, or `LmAuthFailed` for another endpoint."""
    try:
        plain = json.loads(_fernet().decrypt(bytes(sealed)))
    except InvalidToken as error:
        raise KeyUnreadable from error
    if plain["for"] != _endpoint(api, base_url):
        raise LmAuthFailed("The stored key belongs to another endpoint. Enter the key for this one.")
    key: str = plain["key"]
    return key


def rotate(sealed: bytes) -> bytes:
    """The same secret under the first of RLMWEB_KEYS. Raises `KeyUnreadable`."""
    try:
        return _fernet().rotate(bytes(sealed))
    except InvalidToken as error:
        raise KeyUnreadable from error


def key_hint(key: str) -> str:
    """What pages may show of a key: its last characters, and of a short one nothing."""
    return f"...{key[-SHOWN_CHARS:]}" if len(key) >= LEAST_CHARS_TO_SHOW else "..."


def _endpoint(api: str, base_url: str) -> str:
    parts = urlsplit(base_url)
    return f"{api} {parts.scheme.lower()}://{parts.netloc.lower()}" if base_url else api


def _fernet() -> MultiFernet:
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    if not settings.SECRET_KEYS_AT_REST:
        raise ImproperlyConfigured("RLMWEB_KEYS is empty, so keys of teams cannot be stored or read.")
    return MultiFernet([Fernet(key) for key in settings.SECRET_KEYS_AT_REST])
