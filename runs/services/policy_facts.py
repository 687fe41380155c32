"""What a session is, in the words of a policy: where its code runs, which models it asks, how its material is classed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from rlmweb.teams.models import Team
from rlmweb.teams.permissions import has_second_factor
from rlmweb.teams.policies.facts import Facts, LinkFacts, ModelFacts, SandboxFacts
from runs.access import Actor
from runs.lm.prices import DEFAULT_URLS
from runs.models import Session
from runs.services.config import ModelConfig, SessionConfig, config_from_plain
from sandboxes.accounts.opening import describing
from sandboxes.choosing import attested_kinds
from sandboxes.contract import Isolation
from sandboxes.errors import SandboxError
from sandboxes.models import ProviderAccount
from sandboxes.needs import Needs
from sandboxes.vendors import LOCAL, VENDORS

INSIDE = ("embedded", "scripted")
"""APIs whose models run in rlmweb itself: nothing leaves the machine."""
USUAL_PORTS = {"http": 80, "https": 443}
SECONDS_A_DAY = 86_400


def facts_in(team: Team, actor: Actor, **more: Any) -> Facts:
    """Of an act in a team that concerns no session yet."""
    return Facts(organisation=team.organisation, actor=actor.name, source=actor.source, **more)


def facts_of_config(team: Team, actor: Actor, config: SessionConfig, **more: Any) -> Facts:
    """Of whatever runs `config`: every place it may go to and every model it may ask counts."""
    return facts_in(team, actor, sandboxes=sandbox_facts(config, team), models=model_facts(config), **more)


def facts_of_session(session: Session, actor: Actor, **more: Any) -> Facts:
    """Of an act on what a session holds."""
    config = config_from_plain(session.config)
    return facts_of_config(session.team, actor, config, **{**about(session), **more})


def link_facts(session: Session, actor: Actor, link: LinkFacts) -> Facts:
    """Of a share link to be made: ask `require(Act.SHARE, link_facts(...))` before its transaction."""
    return facts_in(session.team, actor, link=link, **about(session))


def days_until(expires_at: datetime | None, now: datetime) -> float | None:
    """For `LinkFacts.expires_in_days`."""
    return None if expires_at is None else (expires_at - now).total_seconds() / SECONDS_A_DAY


def about(session: Session) -> dict[str, Any]:
    return {
        "object_type": "session",
        "object_id": str(session.uuid),
        "session": str(session.uuid),
        "data_class": session.policy.get("data_class", ""),
    }


def person_facts(session: Session, user: Any, source: str) -> Facts:
    """Of somebody who looks at a session's content."""
    actor = Actor(user, source)
    return facts_in(session.team, actor, has_second_factor=has_second_factor(user), **about(session))


def sandbox_facts(config: SessionConfig, team: Team) -> tuple[SandboxFacts, ...]:
    return tuple(_sandbox(name, config.sandbox, team) for name in dict.fromkeys((config.provider, *config.fallback)))


def model_facts(config: SessionConfig) -> tuple[ModelFacts, ...]:
    return tuple(dict.fromkeys(model_of(model) for model in (config.root, config.sub_model)))


def model_of(model: ModelConfig) -> ModelFacts:
    if model.api in INSIDE and not model.base_url:
        return ModelFacts(model.model, local=True)
    return ModelFacts(model.model, host_of(model.base_url or DEFAULT_URLS.get(model.api, "")))


def model_facts_at(api: str, base_url: str) -> ModelFacts:
    """Of a key, which is for every model at its address."""
    return ModelFacts(api, host_of(base_url or DEFAULT_URLS.get(api, "")))


def host_of(url: str) -> str:
    """`api.example.org`, with the port where it is not the usual one; empty for what is no address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").lower().rstrip(".")
    return host if not host or port in (None, USUAL_PORTS.get(parts.scheme)) else f"{host}:{port}"


def _sandbox(name: str, needs: Needs, team: Team) -> SandboxFacts:
    local = name == LOCAL
    return SandboxFacts(
        provider=name,
        local=local,
        attested=frozenset() if local else frozenset(attested_kinds(team, name)),
        isolation=Isolation.CONTAINER.value if local else _isolation(name, needs, team),
        network=needs.network,
        hosts=needs.hosts,
        cidrs=needs.cidrs,
        memory_snapshot=needs.memory_snapshot,
    )


def _isolation(name: str, needs: Needs, team: Team) -> str:
    """What was asked for, since no sandbox is made where less is offered; else the weakest that the provider has."""
    if needs.isolation:
        return needs.isolation
    if name not in VENDORS:
        return ""  # a name that nobody knows: whoever makes the sandbox says so
    account = ProviderAccount.objects.filter(team=team, provider=name).first()
    try:
        offered = describing(name, account).capabilities().get("isolation")
    except SandboxError:
        return ""
    return min(offered.value, key=list(Isolation).index).value if offered is not None and offered.value else ""
