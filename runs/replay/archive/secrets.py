"""Taking what is secret out of a configuration before it leaves the installation, and again when one comes in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_SECRET = re.compile(
    r"(^|_)(api_?key|key|secret|password|passwd|authorization|cookie|credentials?|bearer|(access|auth|api|id)_?token)$"
)
MODELS = ("root", "sub")


def without_secrets(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration without keys, and the names of the fields that were emptied.

    Names of models and hosts of endpoints stay: they say what was run. A scripted model's script is no secret.
    """
    removed: list[str] = []
    cleaned = dict(config)
    for role in MODELS:
        model = config.get(role)
        if isinstance(model, dict):
            cleaned[role] = _model(dict(model), role, removed)
    return cleaned, removed


def _model(model: dict[str, Any], role: str, removed: list[str]) -> dict[str, Any]:
    if model.get("credential"):
        model["credential"] = ""
        removed.append(f"{role}.credential")
    url = str(model.get("base_url") or "")
    if url and (bare := bare_url(url)) != url:
        model["base_url"] = bare
        removed.append(f"{role}.base_url")
    if model.get("api") != "scripted" and isinstance(model.get("extra"), dict):
        model["extra"] = _without(model["extra"], f"{role}.extra", removed)
    return model


def bare_url(url: str) -> str:
    """Without user, password, query and fragment, any of which may be a key."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _without(value: Any, place: str, removed: list[str]) -> Any:
    if isinstance(value, dict):
        return dict(_kept(value, place, removed))
    if isinstance(value, list):
        return [_without(item, place, removed) for item in value]
    return value


def _kept(fields: dict[str, Any], place: str, removed: list[str]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if _SECRET.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-. ]", "_", name).lower()):
            removed.append(f"{place}.{name}"[:200])
        else:
            yield name, _without(value, f"{place}.{name}", removed)
