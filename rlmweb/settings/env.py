"""Readers of environment variables that refuse odd values.

A refused value does not stop the import of the settings: it is remembered in `PROBLEMS`, the default is used,
and `rlmweb.checks` reports all of them at once. Servers call `refuse_problems()` and do not start.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

FERNET_KEY_BYTES = 32
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
EMAIL_SCHEMES = frozenset({"smtp", "smtps", "smtp+tls", "smtp+ssl"})
POSTGRES_SCHEMES = frozenset({"postgres", "postgresql"})


@dataclass(frozen=True)
class Problem:
    """One variable that could not be used: which, why, and what to do."""

    variable: str
    message: str
    hint: str


PROBLEMS: list[Problem] = []


class BadValue(ValueError):
    """Raised by a reader; the text completes the sentence '<variable> ...'."""


def _read(name: str, default: T, parse: Callable[[str], T], hint: str) -> T:
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    try:
        return parse(raw)
    except BadValue as error:
        PROBLEMS.append(Problem(name, f"{name} {error}", hint))
        return default


def text(name: str, default: str = "") -> str:
    return _read(name, default, lambda raw: raw, "")


def flag(name: str, default: bool) -> bool:
    def parse(raw: str) -> bool:
        if raw.lower() in TRUE_WORDS:
            return True
        if raw.lower() in FALSE_WORDS:
            return False
        raise BadValue(f"is {raw!r}, neither true nor false.")

    return _read(name, default, parse, "Write true or false.")


def whole_number(name: str, default: int, *, least: int, most: int) -> int:
    def parse(raw: str) -> int:
        try:
            value = int(raw.replace("_", ""))
        except ValueError:
            raise BadValue(f"is {raw!r}, not a whole number.") from None
        if not least <= value <= most:
            raise BadValue(f"is {value}, outside {least} to {most}.")
        return value

    return _read(name, default, parse, f"Write a whole number from {least} to {most}.")


def words(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A list separated by commas; empty parts are dropped."""

    def parse(raw: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in raw.split(",") if part.strip())

    return _read(name, default, parse, "Separate the parts by commas.")


def fernet_keys(name: str) -> tuple[str, ...]:
    """Keys of 32 bytes in URL-safe base64, separated by commas; a value that is not one is never quoted."""

    def parse(raw: str) -> tuple[str, ...]:
        keys = tuple(part.strip() for part in raw.split(",") if part.strip())
        for number, key in enumerate(keys, start=1):
            try:
                size_bytes = len(base64.urlsafe_b64decode(key))
            except ValueError:
                size_bytes = 0
            if size_bytes != FERNET_KEY_BYTES:
                raise BadValue(f"holds no Fernet key in place {number}.")
        return keys

    return _read(name, (), parse, "Make keys with Fernet.generate_key() of cryptography.fernet.")


def origins(name: str) -> tuple[str, ...]:
    """A list of origins such as https://rlm.example.org, as Django wants them for CSRF."""
    found = words(name)
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path:
            PROBLEMS.append(
                Problem(
                    name,
                    f"{name} holds {origin!r}, which is not an origin.",
                    "Write https://host[:port], no path.",
                )
            )
    return found


@overload
def folder(name: str, default: Path) -> Path: ...
@overload
def folder(name: str, default: None) -> Path | None: ...
def folder(name: str, default: Path | None) -> Path | None:
    def parse(raw: str) -> Path:
        return Path(raw).expanduser().resolve()

    return _read(name, default, parse, "Write the path of a folder.")


def folders(name: str) -> tuple[Path, ...]:
    """A list of absolute folders separated by commas; a relative one is refused because it would move with
    the process.
    """
    found = tuple(Path(part).expanduser() for part in words(name))
    for path in found:
        if not path.is_absolute():
            PROBLEMS.append(Problem(name, f"{name} holds {str(path)!r}, which is relative.", "Write absolute paths."))
    return tuple(path.resolve() for path in found if path.is_absolute())


def database(name: str, default: str) -> dict[str, Any]:
    """Django's database dictionary from a libpq URL; a unix socket is a percent-encoded folder as host."""

    def parse(raw: str) -> dict[str, Any]:
        if urlsplit(raw).scheme not in POSTGRES_SCHEMES:
            raise BadValue("is not a PostgreSQL URL.")
        found = dict(environ.Env.db_url_config(raw))
        found["HOST"] = unquote(found.get("HOST") or "")
        if not found.get("NAME"):
            raise BadValue("names no database.")
        return found

    return _read(
        name,
        parse(default),
        parse,
        "Write postgresql://user:password@host:port/name (PostgreSQL 14 or newer).",
    )


def redis(name: str, default: str) -> str:
    def parse(raw: str) -> str:
        if urlsplit(raw).scheme not in REDIS_SCHEMES:
            raise BadValue("is not a Redis URL.")
        return raw

    return _read(name, default, parse, "Write redis://host:port/0, rediss://... or unix:///path/to/socket.")


def email(name: str) -> dict[str, Any]:
    """Django's settings for sending e-mail from a URL; without one nothing is sent (`EMAIL_HOST` stays empty)."""

    def parse(raw: str) -> dict[str, Any]:
        parts = urlsplit(raw)
        if parts.scheme not in EMAIL_SCHEMES or not parts.hostname:
            raise BadValue("is not the URL of a mail server.")
        found = dict(environ.Env.email_url_config(raw))
        return {key: value for key, value in found.items() if key.startswith("EMAIL_")}

    nothing = {"EMAIL_HOST": "", "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    return _read(name, nothing, parse, "Write smtp+tls://user:password@host:587.")


def single_sign_on(url: str, client: str, secret: str, name: str) -> dict[str, Any]:
    """django-allauth's providers: the one that speaks OpenID Connect at `url`, if there is any."""
    if not url:
        return {}
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
        PROBLEMS.append(Problem("RLMWEB_OIDC_URL", "RLMWEB_OIDC_URL is not https.", "Write https://issuer/."))
        return {}
    if not client or not secret:
        said = "RLMWEB_OIDC_URL is set without client and secret."
        PROBLEMS.append(Problem("RLMWEB_OIDC_CLIENT_ID", said, "Set RLMWEB_OIDC_CLIENT_ID and RLMWEB_OIDC_SECRET."))
        return {}
    app = {
        "provider_id": "sso",
        "name": name or "Single sign-on",
        "client_id": client,
        "secret": secret,
        "settings": {"server_url": url, "oauth_pkce_enabled": True},
    }
    return {"openid_connect": {"APPS": [app]}}


def broker_of(redis_url: str) -> str:
    """The same server as kombu spells it: unix sockets are redis+socket:// with the database as
    `virtual_host`.
    """
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?{urlencode({'virtual_host': number})}"


def refuse_problems() -> None:
    """Called by servers before they serve: raises ImproperlyConfigured that lists every refused variable."""
    if PROBLEMS:
        lines = "\n".join(f"- {problem.message} {problem.hint}".rstrip() for problem in PROBLEMS)
        raise ImproperlyConfigured(f"The configuration has {len(PROBLEMS)} problem(s):\n{lines}")
