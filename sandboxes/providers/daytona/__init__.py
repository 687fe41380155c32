"""Daytona: a sandbox is a container or a virtual machine, its runner a command of a toolbox session."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandboxes.providers.daytona.provider import DaytonaProvider

__all__ = ["DaytonaProvider"]


def __getattr__(name: str) -> Any:
    """The provider brings the vendor's client along, which takes seconds and tens of megabytes: only when asked for."""
    if name != "DaytonaProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sandboxes.providers.daytona import provider

    return provider.DaytonaProvider
