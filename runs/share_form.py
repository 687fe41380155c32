"""The form that makes a link."""

from __future__ import annotations

from typing import Any

from django import forms

from runs.models import Share
from runs.shares.sharing import DEFAULT_DAYS, LONGEST_DAYS, WITHOUT_ACCOUNT, Wanted


class ShareForm(forms.Form):
    """`wanted()` gives what to share once the form is valid. `public`: may this person share with people without account?"""

    audience = forms.ChoiceField(choices=Share.Audience.choices, initial=Share.Audience.TEAM, label="Who may look")
    redaction = forms.ChoiceField(
        choices=Share.Redaction.choices, initial=Share.Redaction.EVERYTHING, label="What they see"
    )
    frozen = forms.ChoiceField(
        choices=(("live", "What happens from now on, too"), ("frozen", "Nothing after now")),
        initial="live",
        label="Until",
    )
    node = forms.IntegerField(
        required=False, min_value=0, label="Only node", help_text="With all below it. Empty: the whole session."
    )
    days = forms.IntegerField(min_value=1, max_value=LONGEST_DAYS, initial=DEFAULT_DAYS, label="Works for (days)")
    max_views = forms.IntegerField(required=False, min_value=1, max_value=1_000_000, label="Views at most")
    password = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text="For the audience with a password.",
    )
    words = forms.CharField(
        required=False,
        max_length=20_000,
        widget=forms.Textarea({"rows": 2}),
        label="Also mask",
        help_text="One text a line, for the masked version.",
    )

    def __init__(self, public: bool, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not public:
            field = self.fields["audience"]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [each for each in Share.Audience.choices if each[0] not in WITHOUT_ACCOUNT]

    def wanted(self) -> Wanted:
        cleaned = self.cleaned_data
        return Wanted(
            audience=cleaned["audience"],
            redaction=cleaned["redaction"],
            days=cleaned["days"],
            frozen=cleaned["frozen"] == "frozen",
            node=cleaned["node"],
            password=cleaned["password"],
            max_views=cleaned["max_views"],
            words=[line.strip() for line in cleaned["words"].splitlines() if line.strip()],
        )
