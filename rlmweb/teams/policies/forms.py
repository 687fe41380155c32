"""The form of a policy: one field for each rule, made of the rule's type. `keeping` checks and writes."""

from __future__ import annotations

from typing import Any

from django import forms

from rlmweb.teams.policies.profiles import PROFILES, SUMMARIES
from rlmweb.teams.policies.rules import AUDIENCES, DATA_CLASSES, ISOLATIONS, NETWORKS, REDACTIONS, Rules, rules_to_plain
from rlmweb.teams.policies.words import WORDS

UNLIMITED = "*"
"""In place of a list: everything is allowed."""
MARK = "keeps-nothing"
"""Behind a model endpoint: nothing that is sent there is kept."""
MAX_LIST_CHARS = 20_000

CHOICES: dict[str, tuple[str, ...]] = {
    "data_class": DATA_CLASSES,
    "isolation": ISOLATIONS,
    "network": NETWORKS,
    "link_audience": AUDIENCES,
    "link_redaction": REDACTIONS,
}
FLAGS = (
    "memory_snapshots",
    "zero_retention",
    "cross_team_forks",
    "links_frozen",
    "export_reason",
    "content_in_messages",
    "second_factor",
)
NUMBERS = ("link_days", "idle_minutes", "session_hours", "retention_days")
LISTS = ("providers", "attestations", "network_hosts", "model_hosts", "webhook_hosts")
LIST_HELP = "One a line; * for no limit, empty for nothing."
HELP = {
    "attestations": "One a line; empty for none.",
    "model_hosts": f"One a line, with {MARK} behind it where that is agreed; * for no limit, empty for nothing.",
    "retention_days": "0 for what the installation keeps.",
}


class PolicyForm(forms.Form):
    """`values()` are for `keeping.draft` and `keeping.set_policy`."""

    version = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    profile = forms.ChoiceField(choices=[(name, f"{name}: {SUMMARIES[name]}") for name in PROFILES])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in WORDS:
            self.fields[name] = _field(name)

    @property
    def rules(self) -> list[forms.BoundField]:
        return [self[name] for name in WORDS]

    def values(self) -> dict[str, Any]:
        return {name: _value(name, self.cleaned_data[name]) for name in WORDS}


def initial_of(profile: str, version: int, rules: Rules) -> dict[str, Any]:
    return {"version": version, "profile": profile, **{n: _text(n, v) for n, v in rules_to_plain(rules).items()}}


def _field(name: str) -> forms.Field:
    title = WORDS[name].title
    if name in CHOICES:
        return forms.ChoiceField(choices=[(each, each) for each in CHOICES[name]], label=title)
    if name in FLAGS:
        return forms.ChoiceField(choices=[("no", "no"), ("yes", "yes")], label=title)
    if name in NUMBERS:
        unit = name.rsplit("_", 1)[-1]
        return forms.IntegerField(
            required=False, min_value=0, label=f"{title} ({unit})", help_text=HELP.get(name, "Empty: no limit.")
        )
    return forms.CharField(
        required=False,
        max_length=MAX_LIST_CHARS,
        label=title,
        help_text=HELP.get(name, LIST_HELP),
        widget=forms.Textarea({"rows": 2, "spellcheck": "false"}),
    )


def _text(name: str, value: Any) -> Any:
    """A rule's value as its field shows it."""
    if name in FLAGS:
        return "yes" if value else "no"
    if name in LISTS:
        return UNLIMITED if value is None else "\n".join(_line(each) for each in value)
    return value


def _line(item: Any) -> str:
    if isinstance(item, dict):
        return f"{item['host']} {MARK}" if item.get("zero_retention") else str(item["host"])
    return str(item)


def _value(name: str, entered: Any) -> Any:
    """What was entered as a rule's value; whether it is valid, `rules_from` says."""
    if name in FLAGS:
        return entered == "yes"
    if name in LISTS:
        lines = [line.strip() for line in str(entered).splitlines() if line.strip()]
        if lines == [UNLIMITED] and name != "attestations":
            return None
        return [_host(line) for line in lines] if name == "model_hosts" else [_plain(name, line) for line in lines]
    if name == "retention_days":
        return entered or 0
    return entered


def _host(line: str) -> dict[str, Any]:
    host, _, mark = line.partition(" ")
    # What stands behind a host and is not the mark makes the host invalid, instead of being passed over.
    plain = host.lower() if mark.strip() in ("", MARK) else line
    return {"host": plain, "zero_retention": mark.strip() == MARK}


def _plain(name: str, line: str) -> str:
    return line if name == "attestations" else line.lower()
