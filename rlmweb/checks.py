"""System checks of the configuration: what the environment says wrongly, each with an id and a hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from rlmweb.settings import env, logs


@register
def environment_is_readable(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [Error(problem.message, hint=problem.hint or None, id="rlmweb.E001") for problem in env.PROBLEMS]


@register
def single_user_stays_on_this_machine(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    local = {"localhost", "127.0.0.1", "[::1]", ".localhost"}
    if not settings.SINGLE_USER or set(settings.ALLOWED_HOSTS) <= local:
        return []
    hint = "Unset RLMWEB_SINGLE_USER, or leave RLMWEB_ALLOWED_HOSTS at its default."
    return [Warning("Single-user mode is served to other hosts.", hint=hint, id="rlmweb.W001")]


@register
def log_level_is_known(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.LOG_LEVEL in logs.LEVELS:
        return []
    hint = f"Use one of {', '.join(sorted(logs.LEVELS))}."
    return [Error(f"RLMWEB_LOG_LEVEL is {settings.LOG_LEVEL!r}, not a level.", hint=hint, id="rlmweb.E002")]
