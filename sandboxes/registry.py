"""Providers by name. A provider's module, and with it the vendor's SDK, is imported when it is first asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any, cast

from sandboxes.contract import Description, Provider
from sandboxes.errors import InvalidSpec, Unsupported

PROVIDERS = {
    "blaxel": "sandboxes.providers.blaxel.BlaxelProvider",
    "local": "sandboxes.providers.local.LocalProvider",
    "cloudflare": "sandboxes.providers.cloudflare.CloudflareProvider",
    "cloudflare_worker": "sandboxes.providers.cloudflare.CloudflareWorkerProvider",
    "daytona": "sandboxes.providers.daytona.DaytonaProvider",
    "e2b": "sandboxes.providers.e2b.E2BProvider",
    "modal": "sandboxes.providers.modal.ModalProvider",
    "northflank": "sandboxes.providers.northflank.NorthflankProvider",
    "runloop": "sandboxes.providers.runloop.RunloopProvider",
}
DESCRIPTIONS = {
    "daytona": "sandboxes.providers.daytona.description.DaytonaDescription",
    "e2b": "sandboxes.providers.e2b.description.E2BDescription",
    "modal": "sandboxes.providers.modal.description.ModalDescription",
    "northflank": "sandboxes.providers.northflank.description.NorthflankDescription",
    "runloop": "sandboxes.providers.runloop.description.RunloopDescription",
}
"""Of providers whose SDK takes seconds and tens of megabytes to import; the others describe themselves."""
SDKS = {
    "daytona": "daytona",
    "e2b": "e2b",
    "modal": "modal",
    "northflank": "northflank",
    "runloop": "runloop_api_client",
}


def provider_class(name: str) -> type[Provider]:
    """Raises `InvalidSpec` for a name nobody knows and `Unsupported` when the provider's SDK is not installed."""
    path = PROVIDERS.get(name)
    if path is None:
        raise InvalidSpec(
            f"there is no sandbox provider {name!r}; this installation has: {', '.join(sorted(PROVIDERS))}"
        )
    module, _, attribute = path.rpartition(".")
    try:
        return cast("type[Provider]", getattr(import_module(module), attribute))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "sandboxes":
            raise
        raise Unsupported(f"this, because the package {error.name!r} is not installed", provider=name) from error


def describe(name: str, **options: Any) -> Description:
    """What the provider `name`, with the options of a team, can do. Its SDK is not imported. Raises like
    `provider_class`."""
    if name not in DESCRIPTIONS:
        return create_provider(name, **options)
    module, _, attribute = DESCRIPTIONS[name].rpartition(".")
    if not _installed(SDKS[name]):
        raise Unsupported(f"this, because the package {SDKS[name]!r} is not installed", provider=name)
    kind = getattr(import_module(module), attribute)
    known = signature(kind).parameters
    return cast("Description", kind(**{key: value for key, value in options.items() if key in known}))


@cache
def _installed(package: str) -> bool:
    return find_spec(package) is not None


def create_provider(name: str, **options: Any) -> Provider:
    """The provider `name` with its own options (credentials, addresses)."""
    return provider_class(name)(**options)
