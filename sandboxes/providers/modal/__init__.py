"""Modal: gVisor or VM sandboxes with GPUs.

This package has the name of the vendor's client: imports in it are absolute, and `import modal` is the client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandboxes.providers.modal.provider import ModalProvider

__all__ = ["ModalProvider"]


def __getattr__(name: str) -> Any:
    """The provider brings the vendor's client along, which takes seconds and tens of megabytes: only when asked for."""
    if name != "ModalProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sandboxes.providers.modal import provider

    return provider.ModalProvider
