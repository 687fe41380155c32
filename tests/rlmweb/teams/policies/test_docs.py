"""The guide says what the profiles are."""

from __future__ import annotations

import re

import pytest

from rlmweb.settings.base import ROOT_DIR
from rlmweb.teams.policies.profiles import PROFILES
from rlmweb.teams.policies.rules import rules_to_plain
from rlmweb.teams.policies.words import WORDS

ROWS = {
    "data class of new sessions": "data_class",
    "sandbox providers": "providers",
    "attestations of providers": "attestations",
    "isolation of sandboxes, at least": "isolation",
    "network of sandboxes, at most": "network",
    "hosts for sandboxes": "network_hosts",
    "memory snapshots at providers": "memory_snapshots",
    "model endpoints": "model_hosts",
    "only endpoints that keep nothing": "zero_retention",
    "forks into other teams": "cross_team_forks",
    "audience of links, at most": "link_audience",
    "links frozen": "links_frozen",
    "redaction of links, at least": "link_redaction",
    "life of links, at most": "link_days",
    "reason for exports and downloads": "export_reason",
    "webhooks": "webhook_hosts",
    "content in e-mails and webhooks": "content_in_messages",
    "second factor": "second_factor",
    "idle time-out": "idle_minutes",
    "longest web session": "session_hours",
    "retention of the audit log, at least": "retention_days",
}
LISTS = ("providers", "network_hosts", "model_hosts", "webhook_hosts")


def table() -> dict[str, list[str]]:
    text = (ROOT_DIR / "rlmweb/docs/policies.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return {row[0]: row[1:] for row in rows if row[0] in ROWS}


def written(rule: str, cell: str) -> object:
    """A cell as the rule's value."""
    if rule in LISTS:
        return None if cell in ("all", "anywhere") else ()
    if rule == "attestations":
        return (cell,) if cell else ()
    number = re.match(r"(\d+) (days|min|h)$", cell)
    if number:
        return int(number[1]) * (24 if rule == "session_hours" and number[2] == "days" else 1)
    return {"yes": True, "no": False, "allow-list": "allowlist"}.get(cell, cell)


def test_every_rule_has_a_row_and_words() -> None:
    names = set(rules_to_plain(PROFILES["open"]))
    assert set(ROWS.values()) == set(WORDS) == names
    assert set(table()) == set(ROWS)


@pytest.mark.parametrize("row", list(ROWS))
def test_the_table_says_what_the_profiles_are(row: str) -> None:
    rule = ROWS[row]
    for rules, cell in zip(PROFILES.values(), table()[row], strict=True):
        value, said = getattr(rules, rule), written(rule, cell)
        assert (value == said) or (cell == "" and not value), (rule, value, cell)
