"""Runloop: a sandbox is a devbox, its runner an asynchronous execution whose output is followed by its offset."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandboxes.providers.runloop.provider import RunloopProvider

__all__ = ["RunloopProvider"]


def __getattr__(name: str) -> Any:
    """The provider brings the vendor's client along, which takes seconds and tens of megabytes: only when asked for."""
    if name != "RunloopProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sandboxes.providers.runloop import provider

    return provider.RunloopProvider
