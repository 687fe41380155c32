"""The four profiles. An organisation chooses one and may change single rules of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rlmweb.teams.policies.rules import DataClass, Rules, class_rank, rules_from, rules_to_plain

DEFAULT_PROFILE = "open"
SIX_YEARS_DAYS = 2192

OPEN = Rules(
    data_class="public",
    providers=None,
    attestations=(),
    isolation="container",
    network="open",
    network_hosts=None,
    memory_snapshots=True,
    model_hosts=None,
    zero_retention=False,
    cross_team_forks=True,
    link_audience="public",
    links_frozen=False,
    link_redaction="none",
    link_days=None,
    export_reason=False,
    webhook_hosts=None,
    content_in_messages=True,
    second_factor=False,
    idle_minutes=None,
    session_hours=None,
    retention_days=0,
)
TEAM = msgspec.structs.replace(
    OPEN,
    data_class="internal",
    link_audience="password",
    link_redaction="standard",
    link_days=90,
    content_in_messages=False,
    session_hours=24 * 14,
)
REGULATED = msgspec.structs.replace(
    TEAM,
    data_class="confidential",
    attestations=("SOC 2 Type II",),
    network="allowlist",
    model_hosts=(),
    cross_team_forks=False,
    link_audience="organisation",
    link_redaction="standard",
    link_days=30,
    export_reason=True,
    webhook_hosts=(),
    second_factor=True,
    idle_minutes=30,
    session_hours=12,
    retention_days=365,
)
HIPAA = msgspec.structs.replace(
    REGULATED,
    data_class="phi",
    attestations=("BAA",),
    isolation="gvisor",
    network="allowlist",
    network_hosts=(),
    memory_snapshots=False,
    zero_retention=True,
    link_audience="team",
    links_frozen=True,
    link_redaction="strict",
    link_days=7,
    idle_minutes=15,
    session_hours=8,
    retention_days=SIX_YEARS_DAYS,
)
PROFILES: dict[str, Rules] = {"open": OPEN, "team": TEAM, "regulated": REGULATED, "hipaa": HIPAA}
"""Laxest first. Model endpoints, named hosts and webhooks of the strict ones are for the organisation to name."""

SUMMARIES: dict[str, str] = {
    "open": "No limits beyond roles. For trying out, and for material that may be public.",
    "team": "Links need a password or an account and expire; messages carry no content.",
    "regulated": "Named model endpoints, attested providers, second factor, idle time-out, reasons for exports.",
    "hipaa": "For protected health information: agreements in force, strong isolation, frozen redacted links only.",
}


class UnknownProfile(ValueError):
    """There is no profile of this name; there are `open`, `team`, `regulated`, `hipaa`."""


def profile_named(name: str) -> Rules:
    """Raises `UnknownProfile`."""
    if name not in PROFILES:
        raise UnknownProfile(f"There is no profile {name[:40]!r}; there are {', '.join(PROFILES)}.")
    return PROFILES[name]


def rules_with(profile: str, changes: Mapping[str, Any]) -> Rules:
    """The profile with single rules changed. Raises `UnknownProfile`, `BadRules`."""
    return rules_from({**rules_to_plain(profile_named(profile)), **changes})


def profile_of_class(data_class: DataClass) -> str:
    """The profile whose rules a session of this class keeps, whatever its organisation chooses later."""
    return next(name for name, rules in PROFILES.items() if class_rank(rules.data_class) >= class_rank(data_class))
