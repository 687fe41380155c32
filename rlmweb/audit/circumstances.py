"""Under which request somebody acts: kept for the length of the request, so that services need not hand it on."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

MAX_USER_AGENT = 300


@dataclass(frozen=True, slots=True)
class Circumstances:
    request_id: str = ""
    ip: str = ""
    user_agent: str = ""
    auth_method: str = ""


NONE = Circumstances()
current: ContextVar[Circumstances] = ContextVar("audit_circumstances", default=NONE)
