"""What a decision is made of: plain facts of an act, gathered by who knows them (`runs.services.policy`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rlmweb.teams.models import Organisation


class Act(StrEnum):
    """What is asked for before it is done."""

    START = "start a session"
    STEP = "run a step"
    MODEL_CALL = "ask a model"
    EVALUATE = "evaluate code"
    FORK = "fork a session"
    SHARE = "share a session"
    EXPORT = "export a session"
    DOWNLOAD = "download a variable"
    PROVIDER_KEY = "keep a key for sandboxes"
    MODEL_KEY = "keep a key for models"
    WEBHOOK = "send a webhook"
    MESSAGE = "send an e-mail"
    LOOK = "look at content"
    LOWER_FACTOR = "do without a second factor"
    PURGE = "purge the audit log"


@dataclass(frozen=True, slots=True)
class SandboxFacts:
    """One place where sandboxes may be made. `local`: this machine, which nobody attests for. `isolation` is the least
    that a sandbox there may get; empty: not known. `attested`: kinds of attestations that are valid today."""

    provider: str
    local: bool = False
    attested: frozenset[str] = frozenset()
    isolation: str = ""
    network: str = "open"
    hosts: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    memory_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """`host`: with its port where that is not the usual one. `local`: runs inside rlmweb, nothing leaves the machine."""

    name: str
    host: str = ""
    local: bool = False


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """`expires_in_days` None: never."""

    audience: str
    redaction: str = "none"
    frozen: bool = False
    expires_in_days: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one act. What a rule asks about and nobody has said counts as forbidden.

    `actor`, `source`: as in the audit log; source is `web`, `api`, `websocket`, `admin`, `worker` or `cli`.
    """

    organisation: Organisation
    actor: str
    source: str
    object_type: str = "organisation"
    object_id: str = ""
    session: str = ""
    data_class: str = ""
    sandboxes: tuple[SandboxFacts, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    link: LinkFacts | None = None
    reason: str = ""
    host: str = ""
    """Of a webhook."""
    with_content: bool = True
    """Of a message or webhook: does it quote what people or models wrote?"""
    across_teams: bool = False
    has_second_factor: bool | None = None
    keeps_days: int | None = None
    """Of a purge: entries younger than this stay."""
    details: dict[str, str] = field(default_factory=dict)
    """Goes into the audit entry of a refusal."""
