"""The filters of the auditor's page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from rlmweb.audit.inventory import ACTIONS
from rlmweb.audit.models import AuditEntry, AuditSubject

ANY = ("", "any")


class Filters(forms.Form):
    """All optional. Times are UTC."""

    chain = forms.UUIDField(required=False)
    actor = forms.CharField(required=False, max_length=200)
    action = forms.ChoiceField(required=False, choices=[ANY, *((name, name) for name in sorted(ACTIONS))])
    outcome = forms.ChoiceField(required=False, choices=[ANY, *AuditEntry.Outcome.choices])
    object = forms.CharField(required=False, max_length=64, label="Object (uuid)")
    since = forms.DateTimeField(required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    until = forms.DateTimeField(required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))

    def applied(self, entries: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """Only after `is_valid`."""
        wanted: dict[str, Any] = self.cleaned_data
        if wanted["actor"]:
            subjects = AuditSubject.objects.filter(name=wanted["actor"])
            entries = entries.filter(subject_uuid__in=subjects.values("uuid"))
        columns = {
            "action": "action",
            "outcome": "outcome",
            "object": "object_id",
            "since": "at__gte",
            "until": "at__lt",
        }
        return entries.filter(**{column: wanted[name] for name, column in columns.items() if wanted[name]})
