"""Northflank: a sandbox is a deployment service in a project, its runner an exec session over a WebSocket."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandboxes.providers.northflank.provider import NorthflankProvider

__all__ = ["NorthflankProvider"]


def __getattr__(name: str) -> Any:
    """The provider brings the vendor's client along, which takes seconds and tens of megabytes: only when asked for."""
    if name != "NorthflankProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sandboxes.providers.northflank import provider

    return provider.NorthflankProvider
