"""The document of a policy: every rule with its type and bounds. A key or value that is not one of these is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

DataClass = Literal["public", "internal", "confidential", "phi"]
DATA_CLASSES: tuple[DataClass, ...] = ("public", "internal", "confidential", "phi")
"""Lowest first. `phi`: protected health information."""
Network = Literal["blocked", "allowlist", "open"]
NETWORKS: tuple[Network, ...] = ("blocked", "allowlist", "open")
"""Narrowest first."""
Isolation = Literal["container", "gvisor", "microvm"]
ISOLATIONS: tuple[Isolation, ...] = ("container", "gvisor", "microvm")
"""Weakest first."""
Audience = Literal["none", "team", "organisation", "password", "public"]
AUDIENCES: tuple[Audience, ...] = ("none", "team", "organisation", "password", "public")
"""Narrowest first. `password`: whoever has the link and its password."""
Redaction = Literal["none", "standard", "strict"]
REDACTIONS: tuple[Redaction, ...] = ("none", "standard", "strict")
"""Weakest first."""

Name = Annotated[str, msgspec.Meta(max_length=64, pattern=r"\A[a-z0-9][a-z0-9._-]*\Z")]
Host = Annotated[str, msgspec.Meta(max_length=253, pattern=r"\A(\*\.)?[a-z0-9][a-z0-9._-]*(:[0-9]{1,5})?\Z")]
"""`api.example.org`, `gpu-box:8000`, `*.example.org` for every host below it."""
Kind = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"\A[^\x00-\x1f]+\Z")]


class ModelHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where models may be asked. `zero_retention`: the organisation has it in writing that nothing sent is kept."""

    host: Host
    zero_retention: bool = False


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None: not limited. An empty list allows nothing."""

    data_class: DataClass
    providers: Annotated[tuple[Name, ...], msgspec.Meta(max_length=64)] | None
    attestations: Annotated[tuple[Kind, ...], msgspec.Meta(max_length=16)]
    isolation: Isolation
    network: Network
    network_hosts: Annotated[tuple[Host, ...], msgspec.Meta(max_length=256)] | None
    memory_snapshots: bool
    model_hosts: Annotated[tuple[ModelHost, ...], msgspec.Meta(max_length=256)] | None
    zero_retention: bool
    cross_team_forks: bool
    link_audience: Audience
    links_frozen: bool
    link_redaction: Redaction
    link_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None
    export_reason: bool
    webhook_hosts: Annotated[tuple[Host, ...], msgspec.Meta(max_length=64)] | None
    content_in_messages: bool
    second_factor: bool
    idle_minutes: Annotated[int, msgspec.Meta(ge=1, le=43_200)] | None
    session_hours: Annotated[int, msgspec.Meta(ge=1, le=8_760)] | None
    retention_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)]


class BadRules(ValueError):
    """A document of rules is not valid; the text says which rule and why."""


def rules_from(plain: object) -> Rules:
    """Raises `BadRules`."""
    try:
        rules: Rules = msgspec.convert(plain, Rules)
    except msgspec.ValidationError as error:
        raise BadRules(str(error)) from error
    return rules


def rules_to_plain(rules: Rules) -> dict[str, Any]:
    plain = msgspec.to_builtins(rules)
    assert isinstance(plain, dict)
    return plain


def class_rank(data_class: str) -> int:
    """What nobody has classified counts as the lowest, what nobody knows as the highest."""
    if not data_class:
        return 0
    return DATA_CLASSES.index(data_class) if data_class in DATA_CLASSES else len(DATA_CLASSES) - 1


def highest_class(*classes: str) -> DataClass:
    """A session's data class only rises."""
    return DATA_CLASSES[max((class_rank(each) for each in classes), default=0)]
