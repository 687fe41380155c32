"""What the sandbox providers of this installation can do now, for pages."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from sandboxes import aio
from sandboxes.errors import SandboxError
from sandboxes.services import local_provider

ASK_TIMEOUT_S = 5.0
KEPT_S = 15.0
"""The self-test runs once, at the start of the service: asking again soon tells nothing new."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """`tiers`: each way of isolation, strongest first, with the reason against it; empty: it passed its self-test.

    `problem` says why the provider cannot be used at all.
    """

    name: str
    tiers: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def tier(self) -> str:
        """The way that a sandbox gets when none is asked for; empty when there is none."""
        return next((name for name, reason in self.tiers.items() if not reason), "")

    @property
    def passed(self) -> list[str]:
        return [name for name, reason in self.tiers.items() if not reason]


_lock = threading.Lock()
_kept: tuple[float, ProviderStatus] | None = None


def local_status() -> ProviderStatus:
    """The local sandbox service, asked at most every few seconds."""
    global _kept
    with _lock:
        if _kept is None or time.monotonic() - _kept[0] > KEPT_S or _kept[1].problem:
            _kept = time.monotonic(), _ask()
        return _kept[1]


def _ask() -> ProviderStatus:
    from sandboxes.providers.local import LocalProvider

    provider = local_provider()
    assert isinstance(provider, LocalProvider)
    try:
        tiers = dict(aio.run(provider.tiers(), timeout_s=ASK_TIMEOUT_S))
    except (SandboxError, TimeoutError, OSError) as error:
        logger.warning("the local sandbox service does not answer: %s", error)
        return ProviderStatus("local", problem=str(error) or "The local sandbox service does not answer.")
    status = ProviderStatus("local", tiers)
    if not status.tier:
        return ProviderStatus("local", tiers, "No way of isolation passed its self-test on this machine.")
    return status
