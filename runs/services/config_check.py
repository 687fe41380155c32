"""Can a configuration that came from outside work? Found out before a session is started, not by its first step."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from runs.engine.limits import Limits
from runs.form_limits import FIELDS
from runs.lm.addresses import check_base_url
from runs.lm.errors import LmError
from runs.lm.scripted import PREFIX, build
from runs.lm.site import from_settings
from runs.models import LmCredential
from runs.services.config import InvalidConfig, ModelConfig, SessionConfig, config_from_plain
from runs.services.desk import choice_of
from runs.text import scrub
from sandboxes.registry import PROVIDERS


def check_config(config: SessionConfig, credentials: Iterable[LmCredential]) -> None:
    """Raises `InvalidConfig` that names the field. `credentials`: the keys that the person may use."""
    known = {str(credential.uuid): credential for credential in credentials}
    _check_model("root", config.root, known)
    if config.sub is not None:
        _check_model("sub", config.sub, known)
    if config.provider not in PROVIDERS:
        raise InvalidConfig(f"provider: there is no {config.provider!r}; there are {', '.join(PROVIDERS)}.")
    check_limits(config.limits)


def check_limits(limits: Limits) -> None:
    """Raises `InvalidConfig` for a limit outside of what a form takes."""
    for spec in FIELDS:
        value = getattr(limits, spec.name)
        least, most = spec.least * spec.scale, spec.most * spec.scale
        # Written so that a NaN, which compares with nothing, is refused too.
        if value is not None and not least <= value <= most:
            raise InvalidConfig(f"limits.{spec.name}: {value} is outside {least:,} to {most:,}.")


def config_from_outside(plain: object) -> SessionConfig:
    """A configuration in JSON from a caller. Raises `InvalidConfig`, also for text that the database cannot hold."""
    waiting = [plain]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and scrub(value) != value:
            raise InvalidConfig("Text in a configuration must not hold NUL or half of a surrogate pair.")
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
    return config_from_plain(plain)


def _check_model(role: str, model: ModelConfig, known: dict[str, LmCredential]) -> None:
    if not model.model:
        raise InvalidConfig(f"{role}.model: name the model.")
    if model.context_window_tokens < 1024:
        raise InvalidConfig(f"{role}.context_window_tokens: at least 1024 are needed.")
    try:
        if model.api == "scripted":
            if not model.model.startswith(PREFIX):
                raise InvalidConfig(f"{role}.model: a scripted model is called {PREFIX}NAME.")
            build(choice_of(model), "", from_settings())
        elif model.credential:
            _check_credential(role, model, known)
        elif model.base_url:
            check_base_url(model.base_url, settings.MODEL_HOSTS)
        elif model.api != "embedded":
            raise InvalidConfig(f"{role}.credential: the vendor's own endpoint needs a key.")
    except LmError as error:
        raise InvalidConfig(f"{role}: {error}") from error


def _check_credential(role: str, model: ModelConfig, known: dict[str, LmCredential]) -> None:
    credential = known.get(model.credential)
    if credential is None:
        raise InvalidConfig(f"{role}.credential: your teams have no such key.")
    if (model.api, model.base_url) != (credential.api, credential.base_url):
        raise InvalidConfig(
            f"{role}: the key {credential.name} is for api {credential.api!r} at base_url {credential.base_url!r}."
        )
