"""Forms of the people's page. They check what is entered; `people`, `invitations` and `grants` write."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db.models import Q

from rlmweb.teams.grants import LONGEST_CASE_DAYS
from rlmweb.teams.models import ORGANISATION_ROLES, TEAM_ROLES, Organisation, Role, Team

WHOLE = "organisation"
"""In place of a team: the role is held over the organisation."""
NONE = "none"


def members_of(organisation: Organisation) -> Any:
    """Everybody with a role in the organisation or one of its teams."""
    return (
        get_user_model()
        .objects.filter(
            Q(memberships__team__organisation=organisation) | Q(organisation_roles__organisation=organisation)
        )
        .distinct()
        .order_by("username")
    )


class _PlaceForm(forms.Form):
    """A role and where it is held; `cleaned_data["team"]` is a team, or None for the organisation."""

    def __init__(self, organisation: Organisation, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teams = {team.slug: team for team in organisation.teams.all()}
        choices = [(WHOLE, f"All of {organisation.name}"), *((slug, team.name) for slug, team in self.teams.items())]
        self.fields["place"] = forms.ChoiceField(choices=choices, label="Where", initial=choices[-1][0])

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        place, role = cleaned.get("place"), cleaned.get("role")
        cleaned["team"] = self.teams.get(str(place))
        wanted = ORGANISATION_ROLES if place == WHOLE else TEAM_ROLES
        if role and role != NONE and role not in wanted:
            names = ", ".join(each.label.lower() for each in wanted)
            self.add_error("role", f"Here the roles are: {names}.")
        return cleaned


class InviteForm(_PlaceForm):
    email = forms.EmailField(label="E-mail")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.RESEARCHER)
    field_order = ("email", "role", "place")


class RoleForm(_PlaceForm):
    """`role` none takes the role away."""

    user = forms.ModelChoiceField(User.objects.none(), empty_label=None, label="Person")
    role = forms.ChoiceField(choices=[*Role.choices, (NONE, "No role")], initial=Role.RESEARCHER)
    field_order = ("user", "role", "place")

    def __init__(self, organisation: Organisation, *args: Any, **kwargs: Any) -> None:
        super().__init__(organisation, *args, **kwargs)
        _offer(self.fields["user"], members_of(organisation))


class TeamForm(forms.Form):
    name = forms.CharField(max_length=100, label="Name of the team")


class ContentForm(forms.Form):
    """A look at content: for another person for days, or as emergency access of one's own."""

    team = forms.ModelChoiceField(Team.objects.none(), to_field_name="slug", empty_label=None)
    user = forms.ModelChoiceField(
        User.objects.none(), required=False, empty_label="Myself, for an hour", label="Person"
    )
    days = forms.IntegerField(min_value=1, max_value=LONGEST_CASE_DAYS, initial=1, label="Days")
    reason = forms.CharField(max_length=500, help_text="Stands in the audit log.")

    def __init__(self, organisation: Organisation, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self.fields["team"], organisation.teams.all())
        _offer(self.fields["user"], members_of(organisation).filter(organisation_roles__organisation=organisation))


def _offer(field: forms.Field, rows: Any) -> None:
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = rows
