"""One function for each rule: (rules, facts) to the reason against the act, or nothing.

What a rule asks about and nobody has said is a reason against it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlmweb.teams.policies.facts import Facts, SandboxFacts
from rlmweb.teams.policies.rules import AUDIENCES, ISOLATIONS, NETWORKS, REDACTIONS, Rules, class_rank

LEAST_REASON_CHARS = 10
UNSAID = "nothing was said about it"


def providers(rules: Rules, facts: Facts) -> str:
    if rules.providers is None:
        return ""
    for box in facts.sandboxes:
        if box.provider not in rules.providers:
            return f"Sandboxes at {box.provider} are not among the allowed: {_listed(rules.providers)}."
    return _unsaid(facts.sandboxes, "where its sandboxes are")


def attestations(rules: Rules, facts: Facts) -> str:
    """This machine attests nothing to its own operator: how it isolates is the rule for it."""
    for box in facts.sandboxes:
        missing = [kind for kind in rules.attestations if kind not in box.attested]
        if missing and not box.local:
            return f"The team has no {' and no '.join(missing)} from {box.provider} that is valid today."
    return _unsaid(facts.sandboxes, "where its sandboxes are") if rules.attestations else ""


def isolation(rules: Rules, facts: Facts) -> str:
    least = ISOLATIONS.index(rules.isolation)
    for box in facts.sandboxes:
        if _place(ISOLATIONS, box.isolation, 0) < least:
            has = box.isolation or "nothing that it says"
            return f"Sandboxes at {box.provider} are kept apart by {has}; {rules.isolation} or stronger is asked for."
    return ""


def network(rules: Rules, facts: Facts) -> str:
    widest = NETWORKS.index(rules.network)
    for box in facts.sandboxes:
        if _place(NETWORKS, box.network, len(NETWORKS)) > widest:
            return f"The network of sandboxes may be {_up_to(NETWORKS, rules.network)}, not {box.network}."
    return ""


def network_hosts(rules: Rules, facts: Facts) -> str:
    if rules.network_hosts is None:
        return ""
    for box in facts.sandboxes:
        for host in _reached(box):
            if not matches(host, rules.network_hosts):
                return f"Sandboxes may reach {_listed(rules.network_hosts)}, not {host}."
    return ""


def memory_snapshots(rules: Rules, facts: Facts) -> str:
    if not rules.memory_snapshots and any(box.memory_snapshot for box in facts.sandboxes):
        return "Snapshots of running memory stay at the provider; they are not allowed."
    return ""


def model_hosts(rules: Rules, facts: Facts) -> str:
    if rules.model_hosts is None:
        return ""
    allowed = [each.host for each in rules.model_hosts]
    for model in facts.models:
        if not model.local and not matches(model.host, allowed):
            return f"Models may be asked at {_listed(allowed)}, not at {model.host or 'an address nobody named'}."
    return _unsaid(facts.models, "which models are asked")


def zero_retention(rules: Rules, facts: Facts) -> str:
    if not rules.zero_retention:
        return ""
    marked = [each.host for each in rules.model_hosts or () if each.zero_retention]
    for model in facts.models:
        if not model.local and not matches(model.host, marked):
            return f"{model.host or model.name} is not marked as keeping nothing of what it is sent."
    return ""


def data_class(rules: Rules, facts: Facts) -> str:
    """Material does not move to where less care is taken."""
    if class_rank(facts.data_class) > class_rank(rules.data_class) and facts.across_teams:
        return f"The session's class is {facts.data_class}; it does not move to a team for {rules.data_class}."
    return ""


def cross_team_forks(rules: Rules, facts: Facts) -> str:
    return "Forks stay in the team of their session." if facts.across_teams and not rules.cross_team_forks else ""


def link_audience(rules: Rules, facts: Facts) -> str:
    if facts.link is None:
        return f"Who a link is for: {UNSAID}."
    if _place(AUDIENCES, facts.link.audience, len(AUDIENCES)) > AUDIENCES.index(rules.link_audience):
        if rules.link_audience == "none":
            return "Nothing is shared by links."
        return f"Links may be for {_up_to(AUDIENCES[1:], rules.link_audience)}, not for {facts.link.audience}."
    return ""


def links_frozen(rules: Rules, facts: Facts) -> str:
    if rules.links_frozen and not (facts.link and facts.link.frozen):
        return "Links show a frozen session: one that goes on may show what nobody has looked at."
    return ""


def link_redaction(rules: Rules, facts: Facts) -> str:
    given = facts.link.redaction if facts.link else ""
    if _place(REDACTIONS, given, -1) < REDACTIONS.index(rules.link_redaction):
        return f"Links are redacted at least at level {rules.link_redaction}, not {given or 'at none'}."
    return ""


def link_days(rules: Rules, facts: Facts) -> str:
    if rules.link_days is None:
        return ""
    days = facts.link.expires_in_days if facts.link else None
    if days is None or days > rules.link_days:
        return f"Links end after at most {rules.link_days} days."
    return ""


def export_reason(rules: Rules, facts: Facts) -> str:
    if rules.export_reason and len(facts.reason.strip()) < LEAST_REASON_CHARS:
        return f"Say why, in at least {LEAST_REASON_CHARS} characters: the audit log keeps it."
    return ""


def webhook_hosts(rules: Rules, facts: Facts) -> str:
    if rules.webhook_hosts is None or matches(facts.host, rules.webhook_hosts):
        return ""
    return f"Webhooks go to {_listed(rules.webhook_hosts)}, not to {facts.host or 'an address nobody named'}."


def content_in_messages(rules: Rules, facts: Facts) -> str:
    if facts.with_content and not rules.content_in_messages:
        return "E-mails and webhooks say that something happened, not what was written."
    return ""


def second_factor(rules: Rules, facts: Facts) -> str:
    return "A second factor is asked for." if rules.second_factor and not facts.has_second_factor else ""


def retention_days(rules: Rules, facts: Facts) -> str:
    if (facts.keeps_days or 0) < rules.retention_days:
        return f"Entries of the audit log are kept for {rules.retention_days} days."
    return ""


def matches(host: str, allowed: Sequence[str]) -> bool:
    """`*.example.org` stands for every host below it, and not for itself."""
    host = host.lower().rstrip(".")
    for each in allowed:
        if host == each or (each.startswith("*.") and host.endswith(each[1:]) and len(host) > len(each) - 1):
            return bool(host)
    return False


def _reached(box: SandboxFacts) -> tuple[str, ...]:
    if box.network == "open":
        return ("the whole network",)
    return (*box.hosts, *box.cidrs) if box.network == "allowlist" else ()


def _place(order: Sequence[str], value: str, unknown: int) -> int:
    return order.index(value) if value in order else unknown


def _up_to(order: Sequence[str], widest: str) -> str:
    return " or ".join(order[: order.index(widest) + 1])


def _unsaid(said: Sequence[object], what: str) -> str:
    return "" if said else f"The act does not say {what}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nothing (none is on the list yet)"
