"""May this be done under the policy? The one decision of pages, API, websockets, admin, workers and commands.

A session keeps the rules of its data class: where its organisation has chosen a laxer profile since, the profile of that
class is asked as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rlmweb.teams.policies import checks
from rlmweb.teams.policies.current import Policy, policy_of
from rlmweb.teams.policies.facts import Act, Facts
from rlmweb.teams.policies.profiles import PROFILES, profile_of_class
from rlmweb.teams.policies.rules import Rules, class_rank, highest_class

Check = Callable[[Rules, Facts], str]
"""The reason against it; empty: none."""

_SANDBOX: dict[str, Check] = {
    "providers": checks.providers,
    "attestations": checks.attestations,
    "isolation": checks.isolation,
    "network": checks.network,
    "network_hosts": checks.network_hosts,
    "memory_snapshots": checks.memory_snapshots,
}
_MODEL: dict[str, Check] = {"model_hosts": checks.model_hosts, "zero_retention": checks.zero_retention}
_RUN = {**_SANDBOX, **_MODEL}

CHECKS: dict[Act, dict[str, Check]] = {
    Act.START: _RUN,
    Act.STEP: _RUN,
    Act.MODEL_CALL: _MODEL,
    Act.EVALUATE: _SANDBOX,
    Act.FORK: {**_RUN, "data_class": checks.data_class, "cross_team_forks": checks.cross_team_forks},
    Act.SHARE: {
        "link_audience": checks.link_audience,
        "links_frozen": checks.links_frozen,
        "link_redaction": checks.link_redaction,
        "link_days": checks.link_days,
    },
    Act.EXPORT: {"export_reason": checks.export_reason},
    Act.DOWNLOAD: {**_SANDBOX, "export_reason": checks.export_reason},
    Act.PROVIDER_KEY: {"providers": checks.providers, "attestations": checks.attestations},
    Act.MODEL_KEY: _MODEL,
    Act.WEBHOOK: {"webhook_hosts": checks.webhook_hosts, "content_in_messages": checks.content_in_messages},
    Act.MESSAGE: {"content_in_messages": checks.content_in_messages},
    Act.LOOK: {"second_factor": checks.second_factor},
    Act.LOWER_FACTOR: {"second_factor": checks.second_factor},
    Act.PURGE: {"retention_days": checks.retention_days},
}
"""Which rules each act is held to. An act that is not here is refused."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule` and `reason` are empty when it is allowed. `policy`: profile and version that decided, `hipaa/3`."""

    allowed: bool
    policy: str
    rule: str = ""
    reason: str = ""


def decide(act: Act, facts: Facts, policy: Policy | None = None) -> Decision:
    """`policy`: instead of the one that holds now, for the preview of a change."""
    policy = policy or policy_of(facts.organisation)
    if policy.rules is None:
        why = f"The stored policy cannot be read ({policy.problem}), so nothing is allowed until it is set again."
        return Decision(False, str(policy), "policy", why)
    if act not in CHECKS:
        return Decision(False, str(policy), "policy", f"No rule says whether one may {act}.")
    for name, rules in _asked(policy, policy.rules, facts):
        for rule, check in CHECKS[act].items():
            reason = check(rules, facts)
            if reason:
                return Decision(False, name, rule, reason)
    return Decision(True, str(policy))


def _asked(policy: Policy, rules: Rules, facts: Facts) -> list[tuple[str, Rules]]:
    asked = [(str(policy), rules)]
    if class_rank(facts.data_class) > class_rank(rules.data_class):
        floor = profile_of_class(highest_class(facts.data_class))
        asked.append((f"{policy}+{floor}", PROFILES[floor]))
    return asked
