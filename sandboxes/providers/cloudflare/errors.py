"""Answers of the Worker as our errors. Shape: `{"error": text, "code": word}` (`@cloudflare/sandbox` 0.12.10, bridge)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from sandboxes.errors import (
    AlreadyTerminated,
    AuthFailed,
    CapacityUnavailable,
    InvalidSpec,
    NotFound,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
    SnapshotExpired,
    SnapshotFailed,
    StreamLost,
)

NAME = "cloudflare"
BY_CODE: dict[str, type[SandboxError]] = {
    "unauthorized": AuthFailed,
    "invalid_request": InvalidSpec,
    "payload_too_large": InvalidSpec,
    "capacity_exceeded": CapacityUnavailable,
    "SESSION_TERMINATED": StreamLost,
    "terminated": AlreadyTerminated,
    "snapshot_failed": SnapshotFailed,
    "snapshot_expired": SnapshotExpired,
}
"""The last three are of our own Worker."""
BY_STATUS: dict[int, type[SandboxError]] = {
    400: InvalidSpec,
    401: AuthFailed,
    402: QuotaExceeded,
    403: AuthFailed,
    404: NotFound,
    410: AlreadyTerminated,
    413: InvalidSpec,
}


def refusal(status: int, headers: Mapping[str, str], body: bytes, provider: str = NAME) -> SandboxError:
    """Headers' names in lower case, or a mapping that does not care."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    document = found if isinstance(found, dict) else {}
    code = str(document.get("code") or "")
    message = str(document.get("error") or f"the answer is {status}")[:500]
    request_id = headers.get("cf-ray") or ""
    error: SandboxError
    if status == 429:
        error = RateLimited(message, retry_after_s=_seconds(headers.get("retry-after")), provider=provider)
    else:
        error = (BY_CODE.get(code) or BY_STATUS.get(status, ProviderUnavailable))(message)
    error.provider, error.native_type, error.status = provider, code or str(status), status
    error.request_id = request_id
    return error


def broken(error: Exception, provider: str = NAME) -> ProviderUnavailable:
    """No answer, or half of one."""
    kind = type(error).__name__
    return ProviderUnavailable(f"{kind}: {error}"[:500], provider=provider, native_type=kind)


def malformed(what: str, provider: str = NAME) -> ProviderUnavailable:
    return ProviderUnavailable(f"the answer is none: {what}"[:500], provider=provider, native_type="malformed")


def _seconds(text: str | None) -> float | None:
    """A date instead of seconds is not read: the caller's own pace is good enough then."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None
