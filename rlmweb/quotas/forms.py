"""The form of one quota. People write hours, dollars and megabytes; what is stored is what is counted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms

from rlmweb.quotas.models import Period, Quota
from rlmweb.quotas.resources import GPU, RESOURCES, Resource, UnknownResource, periods_of, resource_named

MOST = Decimal(2**53)
GPU_CHOICE = (f"{GPU}…", "Time of GPUs, by type (h)")


def _choices() -> list[tuple[str, str]]:
    named = [(each.name, f"{each.title} ({each.unit})" if each.unit else each.title) for each in RESOURCES.values()]
    return [*named, GPU_CHOICE]


class QuotaForm(forms.Form):
    """After `is_valid`: `resource` is a `Resource`, `limit` an amount in what is counted."""

    scope = forms.CharField(max_length=64, widget=forms.HiddenInput)
    resource = forms.ChoiceField(choices=_choices, label="What")
    gpu = forms.CharField(
        required=False, max_length=32, label="Type of GPU", help_text="For time of GPUs: H100, A100, …"
    )
    limit = forms.DecimalField(min_value=0, max_value=MOST, max_digits=20, decimal_places=6, label="Limit")
    period = forms.ChoiceField(choices=Period.choices, label="Per", help_text="What is held at once has no period.")
    on_exceed = forms.ChoiceField(choices=Quota.OnExceed.choices, label="At the limit, sessions")
    soft_percent = forms.IntegerField(min_value=1, max_value=100, initial=80, label="Warn at (%)")
    note = forms.CharField(required=False, max_length=200)

    def clean_scope(self) -> tuple[str, UUID]:
        kind, _, uuid = self.cleaned_data["scope"].partition(":")
        try:
            return kind, UUID(uuid)
        except ValueError:
            raise forms.ValidationError("This is not a scope.") from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name = cleaned.get("resource", "")
        if name == GPU_CHOICE[0]:
            name = GPU + cleaned.get("gpu", "").strip()
        try:
            resource = resource_named(name)
        except UnknownResource:
            if "resource" in cleaned:
                self.add_error("gpu", "Name the type of GPU: letters, digits, dots and dashes.")
            return cleaned
        cleaned["resource"] = resource
        self._check_period(cleaned, resource)
        if resource.kind == "cap":
            cleaned["on_exceed"] = Quota.OnExceed.STOP.value  # waiting would not help
        if "limit" in cleaned:
            cleaned["limit"] = int(cleaned["limit"] * resource.per_unit)
            if cleaned["limit"] > MOST:
                self.add_error("limit", "This is more than can be counted.")
        return cleaned

    def _check_period(self, cleaned: dict[str, Any], resource: Resource) -> None:
        allowed = periods_of(resource)
        if allowed == ("none",):
            cleaned["period"] = "none"  # there is no choice, so nobody is bothered with one
        elif cleaned.get("period") not in allowed:
            self.add_error("period", f"{resource.title} adds up: choose a day or a month.")
