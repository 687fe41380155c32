"""E2B: a sandbox is a Firecracker micro virtual machine made from a template.

This package has the name of the vendor's client: imports in it are absolute, and `import e2b` is the client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandboxes.providers.e2b.provider import E2BProvider

__all__ = ["E2BProvider"]


def __getattr__(name: str) -> Any:
    """The provider brings the vendor's client along, which takes seconds and tens of megabytes: only when asked for."""
    if name != "E2BProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sandboxes.providers.e2b import provider

    return provider.E2BProvider
