"""Under which request somebody acts: kept for the length of the request, so that services need not hand it on."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID

MAX_USER_AGENT = 300


@dataclass(frozen=True, slots=True)
class Touched:
    """Something that the request asked for, and whether it got it."""

    object_type: str
    object_id: UUID
    team_uuid: UUID
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """`touched` grows while the request is served: a view may run in another context than the middleware."""

    request_id: str = ""
    ip: str = ""
    user_agent: str = ""
    auth_method: str = ""
    touched: list[Touched] = field(default_factory=list)


NONE = Circumstances()
current: ContextVar[Circumstances] = ContextVar("audit_circumstances", default=NONE)


def touch(object_type: str, object_id: UUID, team_uuid: UUID, *, denied: bool = False) -> None:
    """Called where access is decided; `middleware` writes it down when the request is over. Nothing outside of one."""
    about = current.get()
    if about is not NONE:
        about.touched.append(Touched(object_type, object_id, team_uuid, denied))
