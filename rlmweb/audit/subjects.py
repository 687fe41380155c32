"""Personal fields under a key of their own for each person, so that one can be forgotten and the chain stays whole.

AES-256-GCM with the subject's uuid as associated data: a ciphertext cannot be moved to somebody else. The keys lie in
the database, wrapped by `RLMWEB_KEYS` where the installation has them. A backup still holds what was destroyed since.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

NONCE_BYTES = 12
WRAPPED = b"f:"
BARE = b"b:"


class Unreadable(Exception):
    """Personal fields do not fit the key of their subject: one was altered, or a key of RLMWEB_KEYS is missing."""


def new_sealed_key() -> bytes:
    key = AESGCM.generate_key(bit_length=256)
    keys = settings.SECRET_KEYS_AT_REST
    return WRAPPED + MultiFernet([Fernet(each) for each in keys]).encrypt(key) if keys else BARE + key


def _key(sealed: bytes) -> bytes:
    if sealed.startswith(BARE):
        return sealed[len(BARE) :]
    try:
        fernets = [Fernet(each) for each in settings.SECRET_KEYS_AT_REST]
        return MultiFernet(fernets).decrypt(sealed[len(WRAPPED) :])
    except (InvalidToken, ValueError) as error:
        raise Unreadable(Unreadable.__doc__) from error


def closed(sealed: bytes, fields: dict[str, Any], subject: str) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(
        nonce + AESGCM(_key(sealed)).encrypt(nonce, orjson.dumps(fields), subject.encode())
    ).decode()


class Opener:
    """Opens the personal fields of one person, however many entries there are: unwrapping the key costs more than a use."""

    def __init__(self, sealed: bytes, subject: str) -> None:
        self.cipher = AESGCM(_key(sealed)) if sealed else None
        self.subject = subject.encode()

    def plain(self, ciphertext: str) -> bytes:
        """JSON; empty when the key was destroyed. Raises `Unreadable`."""
        if self.cipher is None:
            return b""
        raw = binascii.a2b_base64(ciphertext)
        try:
            return self.cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], self.subject)
        except InvalidTag as error:
            raise Unreadable(Unreadable.__doc__) from error


def opened(sealed: bytes, ciphertext: str, subject: str) -> dict[str, Any]:
    """Empty when the key was destroyed. Raises `Unreadable`."""
    found: dict[str, Any] = orjson.loads(Opener(sealed, subject).plain(ciphertext) or b"{}")
    return found
