"""Rules in words: for pages, refusals and the guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlmweb.teams.policies.rules import Rules, rules_to_plain


@dataclass(frozen=True, slots=True)
class Word:
    title: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One rule as a page shows it."""

    name: str
    title: str
    meaning: str
    value: str
    changed: bool = False


WORDS: dict[str, Word] = {
    "data_class": Word("Data class", "What new sessions are marked with. The mark of a session only rises."),
    "providers": Word("Sandbox providers", "Where code may run; local is this machine."),
    "attestations": Word(
        "Attestations of providers",
        "What a provider other than this machine must have attested to the team, valid on the day.",
    ),
    "isolation": Word("Isolation of sandboxes", "The least that keeps code apart from its host."),
    "network": Word("Network of sandboxes", "The widest that code may have."),
    "network_hosts": Word("Hosts for sandboxes", "Which hosts code with an allow-list may reach."),
    "memory_snapshots": Word("Memory snapshots", "Whether a provider may keep the memory of running sandboxes."),
    "model_hosts": Word("Model endpoints", "Where models may be asked. Models inside rlmweb need no place here."),
    "zero_retention": Word(
        "Zero retention", "Only endpoints that are marked as keeping nothing of what they are sent."
    ),
    "cross_team_forks": Word("Forks into other teams", "Whether a session may go on in another team."),
    "link_audience": Word("Audience of links", "The widest circle that a share link may be for."),
    "links_frozen": Word("Frozen links", "Links show a session as it was, never one that goes on."),
    "link_redaction": Word("Redaction of links", "The least that is blacked out for those who have a link."),
    "link_days": Word("Life of links", "Days after which a link ends at the latest."),
    "export_reason": Word("Reason for exports", "Archives and downloads need a reason, which the audit log keeps."),
    "webhook_hosts": Word("Hosts of webhooks", "Where rlmweb may send what happened."),
    "content_in_messages": Word("Content in messages", "Whether e-mails and webhooks quote what was written."),
    "second_factor": Word("Second factor", "Roles count only for people who have one."),
    "idle_minutes": Word("Idle time-out", "Minutes without an act after which a web session ends."),
    "session_hours": Word("Longest web session", "Hours after which one signs in again."),
    "retention_days": Word("Retention of the audit log", "Days that entries are kept at least."),
}
TITLES: dict[str, str] = {name: word.title for name, word in WORDS.items()}


def shown(rules: Rules, profile: Rules | None = None) -> list[Shown]:
    """Every rule in order; `changed` where it differs from `profile`."""
    values, own = rules_to_plain(rules), rules_to_plain(profile) if profile is not None else None
    return [
        Shown(
            name, word.title, word.meaning, in_words(name, values[name]), own is not None and own[name] != values[name]
        )
        for name, word in WORDS.items()
    ]


def in_words(name: str, value: Any) -> str:
    if value is None:
        return "not limited"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        unit = name.rsplit("_", 1)[-1]
        return f"{value} {unit}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_item(each) for each in value) or "none"
    return str(value)


def _item(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['host']}{' (keeps nothing)' if value.get('zero_retention') else ''}"
    return str(value)
