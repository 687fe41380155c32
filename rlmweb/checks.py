"""System checks of the configuration: what the environment says wrongly, each with an id and a hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from rlmweb.settings import env, logs
from runs.blobs import BlobStoreUnavailable, blob_store
from runs.blobs.addresses import BadAddress


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


@register
def blob_store_has_an_address(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        blob_store()
    except BadAddress as error:
        hint = "Write file:///folder or s3://bucket/prefix?endpoint=https://host, or leave it unset."
        return [Error(f"RLMWEB_BLOB_STORE_URL names no store: {error}", hint=hint, id="rlmweb.E003")]
    except BlobStoreUnavailable as error:
        return [Error(str(error), hint=error.way_out or None, id="rlmweb.E004")]
    return []


@register(Tags.database)
def blob_store_can_be_used(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """It writes, so it is made like those of the database: before each migration, and by `check --database default`."""
    try:
        blob_store().check()
    except BadAddress:
        return []  # told by the check above
    except BlobStoreUnavailable as error:
        return [Error(f"The blob store cannot be used. {error}", hint=error.way_out or None, id="rlmweb.E004")]
    return []
