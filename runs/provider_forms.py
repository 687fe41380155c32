"""Forms about sandbox providers: a team's key for one, the order of providers, attestations, and what a session needs."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
from django import forms

from runs.services.config import InvalidConfig
from sandboxes.needs import Needs
from sandboxes.registry import PROVIDERS
from sandboxes.vendors import TITLES, Vendor

NETWORKS = (("blocked", "none"), ("allowlist", "the hosts below"), ("open", "everything"))
ISOLATIONS = (("", "a container"), ("gvisor", "gVisor"), ("microvm", "a virtual machine"))
CHOICES = tuple((name, TITLES.get(name, name)) for name in PROVIDERS)
NEEDS_PREFIX = "need_"


class AccountForm(forms.Form):
    """What a vendor asks for. Secrets are write-only: never put into a page, not even after an error."""

    def __init__(self, vendor: Vendor, data: Any = None, *, has_key: bool = False, initial: Any = None) -> None:
        shown = {
            name: json.dumps(value) if isinstance(value, dict) else value for name, value in (initial or {}).items()
        }
        super().__init__(data, prefix=vendor.name, initial=shown)
        for field in vendor.fields:
            required = field.required and not (field.secret and has_key)
            if field.kind == "flag":
                self.fields[field.name] = forms.BooleanField(required=False, label=field.label, help_text=field.help)
            else:
                widget = forms.PasswordInput({"autocomplete": "off"}) if field.secret else forms.TextInput()
                help = "Empty: the key stays as it is." if field.secret and has_key else field.help
                self.fields[field.name] = forms.CharField(
                    required=required, max_length=4096, label=field.label, help_text=help, widget=widget
                )


class OrderForm(forms.Form):
    """Where sessions run by default, and where they go when there is no room."""

    first = forms.ChoiceField(choices=CHOICES, label="Sessions run at")
    second = forms.ChoiceField(choices=(("", "nowhere"), *CHOICES), required=False, label="When it has no room, at")
    third = forms.ChoiceField(choices=(("", "nowhere"), *CHOICES), required=False, label="Then at")

    def names(self) -> list[str]:
        return [name for name in (self.cleaned_data[each] for each in ("first", "second", "third")) if name]

    def clean(self) -> dict[str, Any]:
        if not self.errors and len(set(self.names())) != len(self.names()):
            self.add_error("second", "Name each provider once.")
        return self.cleaned_data

    @staticmethod
    def initial_of(names: list[str]) -> dict[str, str]:
        return dict(zip(("first", "second", "third"), names, strict=False))


class AttestationForm(forms.Form):
    """A document that the team holds of a provider."""

    provider = forms.ChoiceField(choices=CHOICES)
    kind = forms.CharField(max_length=64, help_text="BAA, SOC 2 Type II, ISO 27001, ...")
    scope = forms.CharField(max_length=500, help_text="What it covers: products, regions, features.")
    reference = forms.CharField(max_length=500, required=False, help_text="Where the document is.")
    valid_until = forms.DateField(widget=forms.DateInput({"type": "date"}), label="Valid until")

    def clean_valid_until(self) -> date:
        until: date = self.cleaned_data["valid_until"]
        if until < date.today():
            raise forms.ValidationError("That day is over.")
        return until


def needs_fields() -> dict[str, forms.Field]:
    """The fields of `Needs`, in words."""
    fields: dict[str, forms.Field] = {
        "cpu": forms.FloatField(required=False, min_value=0.1, max_value=192, label="Processor cores"),
        "gpu": forms.CharField(
            required=False,
            max_length=200,
            label="GPU",
            help_text="Types in order of preference, such as H100, A100-80GB. Empty: none.",
            widget=forms.TextInput({"placeholder": "none"}),
        ),
        "gpu_count": forms.IntegerField(required=False, min_value=1, max_value=16, label="GPUs per sandbox"),
        "region": forms.CharField(
            required=False, max_length=253, label="Region", help_text="As the provider calls it."
        ),
        "network": forms.ChoiceField(required=False, choices=NETWORKS, label="What the code may reach"),
        "hosts": forms.CharField(required=False, max_length=2000, label="Hosts", help_text="Separated by commas."),
        "isolation": forms.ChoiceField(choices=ISOLATIONS, required=False, label="Isolated at least by"),
        "attestations": forms.CharField(
            required=False,
            max_length=500,
            label="Attestations",
            help_text="Kinds your team must hold of the provider, such as BAA.",
        ),
        "max_usd_per_hour": forms.FloatField(
            required=False, min_value=0.0001, max_value=100_000, label="At most, in USD an hour", help_text="A sandbox."
        ),
        "memory_snapshot": forms.BooleanField(required=False, label="Snapshots keep running processes"),
    }
    return {NEEDS_PREFIX + name: field for name, field in fields.items()}


class NeedsForm(forms.Form):
    """What a session needs of its sandboxes, by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update(needs_fields())


def needs_initial(needs: Needs) -> dict[str, Any]:
    values = msgspec.structs.asdict(needs)
    for name in ("gpu", "hosts", "attestations"):
        values[name] = ", ".join(values[name])
    return {NEEDS_PREFIX + name: value for name, value in values.items()}


def needs_from(cleaned: dict[str, Any], before: Needs | None = None) -> Needs:
    """The needs of a valid form; a field that was not sent is as before. Raises `InvalidConfig`."""
    plain: dict[str, Any] = msgspec.to_builtins(before or Needs())
    for name in needs_fields():
        value = cleaned.get(name)
        field = name.removeprefix(NEEDS_PREFIX)
        if field in ("gpu", "hosts", "attestations"):
            plain[field] = [part.strip() for part in str(value or "").split(",") if part.strip()]
        elif value is not None and (value != "" or field in ("region", "isolation")):
            plain[field] = value
    if cleaned.get(NEEDS_PREFIX + "max_usd_per_hour") is None:
        plain.pop("max_usd_per_hour", None)
    try:
        return msgspec.convert(plain, Needs)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"sandbox: {error}") from error
