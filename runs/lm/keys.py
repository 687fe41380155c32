"""Teams' API keys at rest: encrypted, and bound to the endpoint that they were entered for (`rlmweb.sealed`)."""

from __future__ import annotations

from urllib.parse import urlsplit

from rlmweb import sealed as sealing
from rlmweb.sealed import hint as key_hint
from runs.lm.errors import LmAuthFailed

__all__ = ["KeyUnreadable", "key_hint", "open_key", "rotate", "seal_key"]


class KeyUnreadable(LmAuthFailed):
    """The stored key cannot be decrypted: RLMWEB_KEYS has changed. Enter the key again."""


def seal_key(key: str, *, api: str, base_url: str) -> bytes:
    """The encrypted form to store. Raises `ImproperlyConfigured` when RLMWEB_KEYS is empty."""
    return sealing.seal(key, bound_to=_endpoint(api, base_url))


def open_key(sealed: bytes, *, api: str, base_url: str) -> str:
    """The key, for the endpoint it was sealed for. Raises `KeyUnreadable`, or `LmAuthFailed` for another endpoint."""
    try:
        return str(sealing.unseal(sealed, bound_to=_endpoint(api, base_url)))
    except sealing.Unreadable as error:
        raise KeyUnreadable from error
    except sealing.SealedForAnother as error:
        raise LmAuthFailed("The stored key belongs to another endpoint. Enter the key for this one.") from error


def rotate(sealed: bytes) -> bytes:
    """The same secret under the first of RLMWEB_KEYS. Raises `KeyUnreadable`."""
    try:
        return sealing.rotate(sealed)
    except sealing.Unreadable as error:
        raise KeyUnreadable from error


def _endpoint(api: str, base_url: str) -> str:
    parts = urlsplit(base_url)
    return f"{api} {parts.scheme.lower()}://{parts.netloc.lower()}" if base_url else api
