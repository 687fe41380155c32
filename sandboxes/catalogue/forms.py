"""The form for a team's own row."""

from __future__ import annotations

from datetime import date

from django import forms

from sandboxes.catalogue.claims import Claim, Status, Support
from sandboxes.catalogue.keys import TOPICS

SUPPORT = (("", "answers no need"), *((each.value, each.value) for each in Support if each))


class RowForm(forms.Form):
    """Says something of a provider, or corrects a row: then topic and claim are those of that row."""

    capability_key = forms.ChoiceField(choices=tuple(TOPICS.items()), label="Topic")
    claim_text = forms.CharField(
        max_length=500, label="Claim", help_text="What is said. That of a row here corrects it."
    )
    value = forms.CharField(max_length=500, label="What is so")
    status = forms.ChoiceField(choices=tuple((each.value, each.value) for each in Status), initial=Status.CONFIRMED)
    support = forms.ChoiceField(choices=SUPPORT, required=False, label="For who needs it")
    as_of = forms.DateField(label="As of", widget=forms.DateInput({"type": "date"}))
    source = forms.CharField(max_length=500, help_text="An address, or what was looked at.")
    note = forms.CharField(max_length=500, required=False)

    def clean_as_of(self) -> date:
        day: date = self.cleaned_data["as_of"]
        if day > date.today():
            raise forms.ValidationError("A source cannot speak for a day that has not come.")
        return day

    def claim(self, provider: str) -> Claim:
        """Of a valid form."""
        values = self.cleaned_data
        support = Support(values["support"])
        return Claim(
            provider=provider,
            kind="answer" if support else "claim",
            capability_key=values["capability_key"],
            claim_text=values["claim_text"],
            support=support,
            value=values["value"],
            status=Status(values["status"]),
            as_of=values["as_of"],
            source=values["source"],
            note=values["note"],
        )
