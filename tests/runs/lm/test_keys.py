"""Keys at rest: sealed, bound to their endpoint, rotated, hinted."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings

from runs.lm.errors import LmAuthFailed
from runs.lm.keys import KeyUnreadable, key_hint, open_key, rotate, seal_key

SECRET = "sk-live-0123456789abcdef"
OPENAI = {"api": "openai", "base_url": ""}


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)


def test_a_sealed_key_comes_back_and_is_not_readable_before() -> None:
    sealed = seal_key(SECRET, **OPENAI)
    assert SECRET.encode() not in sealed
    assert open_key(sealed, **OPENAI) == SECRET
    assert open_key(memoryview(sealed), **OPENAI) == SECRET  # type: ignore[arg-type]  # as psycopg returns it


@pytest.mark.parametrize(
    "other",
    [
        {"api": "openai", "base_url": "https://evil.example/v1"},
        {"api": "openai", "base_url": "http://api.example.org/v1"},
        {"api": "openai", "base_url": "https://api.example.org:8443/v1"},
        {"api": "openai", "base_url": ""},
        {"api": "anthropic", "base_url": "https://api.example.org/v1"},
    ],
)
def test_a_key_opens_for_its_own_endpoint_only(other: dict[str, str]) -> None:
    sealed = seal_key(SECRET, api="openai", base_url="https://api.example.org/v1")
    assert open_key(sealed, api="openai", base_url="https://API.example.org/v2") == SECRET
    with pytest.raises(LmAuthFailed, match="another endpoint"):
        open_key(sealed, **other)


def test_an_old_key_still_opens_and_rotation_moves_it(settings: Settings) -> None:
    sealed = seal_key(SECRET, **OPENAI)
    old, new = settings.SECRET_KEYS_AT_REST[0], Fernet.generate_key().decode()
    settings.SECRET_KEYS_AT_REST = (new, old)
    rotated = rotate(sealed)
    settings.SECRET_KEYS_AT_REST = (new,)
    assert open_key(rotated, **OPENAI) == SECRET
    with pytest.raises(KeyUnreadable, match="Enter the key again"):
        open_key(sealed, **OPENAI)
    with pytest.raises(KeyUnreadable):
        rotate(sealed)


def test_a_forged_or_cut_token_does_not_open() -> None:
    for forged in (b"", b"garbage", seal_key(SECRET, **OPENAI)[:-4]):
        with pytest.raises(KeyUnreadable):
            open_key(forged, **OPENAI)


def test_without_encryption_keys_nothing_is_stored(settings: Settings) -> None:
    settings.SECRET_KEYS_AT_REST = ()
    with pytest.raises(ImproperlyConfigured, match="RLMWEB_KEYS"):
        seal_key(SECRET, **OPENAI)


def test_a_hint_shows_the_end_of_a_long_key_only() -> None:
    assert key_hint(SECRET) == "...cdef"
    assert key_hint("short") == "..."
