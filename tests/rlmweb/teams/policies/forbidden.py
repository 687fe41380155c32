"""Forty acts that a policy forbids, as a table: what the policy says, what is tried, which rule refuses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from rlmweb.teams.policies.facts import Act, LinkFacts
from runs.services.config import ModelConfig, SessionConfig
from sandboxes.needs import Needs
from tests.factories import scripted_config

OUTSIDE = ModelConfig(api="openai", model="gpt", base_url="https://models.example.org/v1")
NAMED = {"model_hosts": [{"host": "models.example.org"}]}


@dataclass(frozen=True)
class Forbidden:
    """`document`: the rules against the profile `open`. `facts`: of the act, beside those of its session."""

    name: str
    act: Act
    rule: str
    document: dict[str, Any]
    config: SessionConfig = field(default_factory=scripted_config)
    facts: dict[str, Any] = field(default_factory=dict)
    data_class: str = ""


def _at(provider: str = "local", **needs: Any) -> SessionConfig:
    return scripted_config(provider=provider, sandbox=Needs(**needs))


def _asking(root: ModelConfig | None = None, sub: ModelConfig | None = None) -> SessionConfig:
    config = scripted_config()
    return msgspec.structs.replace(config, root=root or config.root, sub=sub)


def _run(name: str, rule: str, document: dict[str, Any], config: SessionConfig | None = None, **more: Any) -> Forbidden:
    return Forbidden(name, Act.STEP, rule, document, config or scripted_config(), **more)


RUNS = (
    _run("this machine is not on the list", "providers", {"providers": ["e2b"]}),
    _run("no provider is on the list", "providers", {"providers": []}),
    _run("another provider is not on the list", "providers", {"providers": ["local"]}, _at("e2b")),
    _run("the provider has no BAA", "attestations", {"attestations": ["BAA"]}, _at("e2b")),
    _run("of two attestations there is none", "attestations", {"attestations": ["BAA", "SOC 2"]}, _at("daytona")),
    _run("a fallback has no BAA", "attestations", {"attestations": ["BAA"]}, scripted_config(fallback=("daytona",))),
    _run("containers where gvisor is asked for", "isolation", {"isolation": "gvisor"}),
    _run(
        "gvisor where a microVM is asked for", "isolation", {"isolation": "microvm"}, _at("daytona", isolation="gvisor")
    ),
    _run("an open network", "network", {"network": "allowlist"}, _at(network="open")),
    _run("an allow-list where nothing is reached", "network", {"network": "blocked"}, _at(network="allowlist")),
    _run("a host off the list", "network_hosts", {"network_hosts": []}, _at(network="allowlist", hosts=("a.example",))),
    _run(
        "addresses instead of hosts",
        "network_hosts",
        {"network_hosts": ["a.example"]},
        _at(network="allowlist", hosts=("a.example",), cidrs=("10.0.0.0/8",)),
    ),
    _run("a snapshot of memory", "memory_snapshots", {"memory_snapshots": False}, _at(memory_snapshot=True)),
    _run("a model off the list", "model_hosts", {"model_hosts": []}, _asking(OUTSIDE)),
    _run("a sub-call model off the list", "model_hosts", {"model_hosts": []}, _asking(sub=OUTSIDE)),
    _run(
        "a host that only looks alike",
        "model_hosts",
        {"model_hosts": [{"host": "*.models.example.org"}]},
        _asking(OUTSIDE),
    ),
    _run(
        "an endpoint that may keep",
        "zero_retention",
        {**NAMED, "zero_retention": True},
        _asking(OUTSIDE),
    ),
    _run("a class above what the team is for", "isolation", {}, data_class="phi"),
)
EVALUATES = (
    Forbidden("code where no provider is allowed", Act.EVALUATE, "providers", {"providers": []}),
    Forbidden("code in a container", Act.EVALUATE, "isolation", {"isolation": "microvm"}),
)
EXPORTS = (
    Forbidden("an export without a reason", Act.EXPORT, "export_reason", {"export_reason": True}),
    Forbidden(
        "an export with half a reason", Act.EXPORT, "export_reason", {"export_reason": True}, facts={"reason": "x"}
    ),
    Forbidden("an export of blanks", Act.EXPORT, "export_reason", {"export_reason": True}, facts={"reason": " " * 40}),
)


def _link(name: str, rule: str, document: dict[str, Any], link: LinkFacts, **more: Any) -> Forbidden:
    return Forbidden(name, Act.SHARE, rule, document, facts={"link": link}, **more)


SHARES = (
    _link("a public link", "link_audience", {"link_audience": "organisation"}, LinkFacts("public")),
    _link("a link with a password", "link_audience", {"link_audience": "team"}, LinkFacts("password")),
    _link("any link at all", "link_audience", {"link_audience": "none"}, LinkFacts("team")),
    _link("a live link", "links_frozen", {"links_frozen": True}, LinkFacts("team")),
    _link("a link that shows all", "link_redaction", {"link_redaction": "strict"}, LinkFacts("team", "standard")),
    _link("a link that lives too long", "link_days", {"link_days": 7}, LinkFacts("team", expires_in_days=14.0)),
    _link("a link that never ends", "link_days", {"link_days": 7}, LinkFacts("team")),
    _link("a public link of health data", "link_audience", {}, LinkFacts("public"), data_class="phi"),
)
ONE_FACTOR = {"has_second_factor": False}
ACROSS = {"across_teams": True}
OTHERS = (
    Forbidden("a download without a reason", Act.DOWNLOAD, "export_reason", {"export_reason": True}),
    Forbidden(
        "a fork into another team",
        Act.FORK,
        "cross_team_forks",
        {"cross_team_forks": False},
        facts=ACROSS,
    ),
    Forbidden(
        "a fork to where less care is taken",
        Act.FORK,
        "data_class",
        {},
        facts=ACROSS,
        data_class="internal",
    ),
    Forbidden(
        "a webhook off the list", Act.WEBHOOK, "webhook_hosts", {"webhook_hosts": []}, facts={"host": "h.example"}
    ),
    Forbidden("a webhook with content", Act.WEBHOOK, "content_in_messages", {"content_in_messages": False}),
    Forbidden("an e-mail with content", Act.MESSAGE, "content_in_messages", {"content_in_messages": False}),
    Forbidden(
        "a look with one factor", Act.LOOK, "second_factor", {"second_factor": True}, facts={"has_second_factor": False}
    ),
    Forbidden(
        "one factor again",
        Act.LOWER_FACTOR,
        "second_factor",
        {"second_factor": True},
        facts={"has_second_factor": False},
    ),
    Forbidden("a purge too early", Act.PURGE, "retention_days", {"retention_days": 2192}, facts={"keeps_days": 30}),
)
FORBIDDEN = (*RUNS, *EVALUATES, *EXPORTS, *SHARES, *OTHERS)
