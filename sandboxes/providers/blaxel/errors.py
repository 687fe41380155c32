"""Blaxel's error answers as ours.

Three services answer, each in a shape of its own: the control plane (`{"error", "code"}`, and for creating and forking
`{"code", "message", "status_code"}`), the gateway before a sandbox (`{"error": {"code", "message", "retryable",
"safe_to_retry_request"}}`) and the API inside it (`{"error": "text"}`). Source: `blaxel/core/errors.py` of the SDK 0.4.24.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import httpx2

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
    SnapshotIncompatible,
)

NAME = "blaxel"
REQUEST_IDS = ("x-cf-request-id", "x-amz-cf-id", "cf-ray")
BY_CODE: dict[str, type[SandboxError]] = {
    "WORKLOAD_NOT_FOUND": AlreadyTerminated,
    "ROUTE_NOT_FOUND": AlreadyTerminated,
    "SANDBOX_DELETED": AlreadyTerminated,
    "SANDBOX_DELETION_IN_PROGRESS": AlreadyTerminated,
    "SERVICE_UNAVAILABLE": CapacityUnavailable,
    "QUOTA_EXCEEDED": QuotaExceeded,
    "USAGE_LIMIT_EXCEEDED": QuotaExceeded,
    "UNSUPPORTED_GENERATION": SnapshotIncompatible,
    "KERNEL_GENERATION_MISMATCH": SnapshotIncompatible,
    "REGION_MISMATCH": SnapshotIncompatible,
}
"""What the vendor's own code says more precisely than the status. `SERVICE_UNAVAILABLE` is of creating and forking."""
BY_STATUS: dict[int, type[SandboxError]] = {
    400: InvalidSpec,
    401: AuthFailed,
    402: QuotaExceeded,
    403: AuthFailed,
    404: NotFound,
    409: InvalidSpec,
    413: InvalidSpec,
    422: InvalidSpec,
}


class Refusal:
    """What an answer with an error status says."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.retry_after_s = _seconds(headers.get("retry-after"))
        self.request_id = next((headers[name] for name in REQUEST_IDS if headers.get(name)), "")
        document = _document(body)
        inner = document.get("error")
        sources = [source for source in (document, inner) if isinstance(source, dict)]
        codes = [source.get("code") for source in sources]
        self.code = next((code for code in codes if isinstance(code, str)), headers.get("x-blaxel-error-code", ""))
        texts = [source.get("message") for source in reversed(sources)]
        if isinstance(inner, str):
            texts.append(inner)
        self.message = next((text for text in texts if isinstance(text, str) and text), f"the answer is {status}")[:500]
        self.safe_to_retry = any(source.get("safe_to_retry_request") is True for source in sources)
        """The gateway says that the request reached nothing."""

    def error(self) -> SandboxError:
        if self.status == 429 and self.code not in BY_CODE:
            limited = RateLimited(self.message, retry_after_s=self.retry_after_s, provider=NAME)
            limited.status, limited.native_type, limited.request_id = self.status, self.code, self.request_id
            return limited
        kind = BY_CODE.get(self.code) or BY_STATUS.get(self.status, ProviderUnavailable)
        return kind(
            self.message,
            provider=NAME,
            native_type=self.code or str(self.status),
            status=self.status,
            request_id=self.request_id,
        )


def broken(error: httpx2.HTTPError | httpx2.InvalidURL) -> ProviderUnavailable:
    """No answer, or half of one. The library's message names the address and no header."""
    return ProviderUnavailable(
        f"{type(error).__name__}: {error}"[:500], provider=NAME, native_type=type(error).__name__
    )


def malformed(what: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"the answer is none: {what}"[:500], provider=NAME, native_type="malformed")


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str | None) -> float | None:
    """A date instead of seconds is not read: the caller's own pace is good enough then."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None
