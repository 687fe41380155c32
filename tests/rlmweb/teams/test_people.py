"""The people's page: invitations, roles, second factor, looks at content; each against everybody."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.grants import break_glass
from rlmweb.teams.invitations import invite
from rlmweb.teams.models import (
    ApiToken,
    ContentGrant,
    Invitation,
    Membership,
    OrganisationMembership,
    Role,
    Team,
)
from rlmweb.teams.people import NotPossible, give_role, take_role
from rlmweb.teams.tokens import make_token
from tests.cast import SIGNED_IN, Cast, make_cast
from tests.factories import make_user

pytestmark = pytest.mark.django_db
SEES_PEOPLE = ("lead", "auditor", "admin", "owner")
KEEPS_PEOPLE = ("admin", "owner")


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def page(cast: Cast, name: str = "people", *more: object) -> str:
    return reverse(f"teams:{name}", args=[cast.team.organisation.slug, *more])


@pytest.mark.parametrize("name", [*SIGNED_IN, "anonymous"])
def test_who_sees_and_changes_the_people_of_an_organisation(cast: Cast, name: str) -> None:
    client = cast.client(name)
    gone = 302 if name == "anonymous" else 404
    assert client.get(page(cast)).status_code == (200 if name in SEES_PEOPLE else gone)
    keeps, owns = name in KEEPS_PEOPLE, name == "owner"
    review = name in ("auditor", *KEEPS_PEOPLE)
    assert client.get(page(cast, "review")).status_code == (200 if review else gone)
    added = client.post(page(cast, "team_add"), {"name": f"New of {name}"})
    assert added.status_code == (302 if keeps or name == "anonymous" else 404)
    assert Team.objects.filter(name=f"New of {name}").exists() == keeps
    client.post(page(cast, "second_factor"), {"required": "yes"})
    cast.team.organisation.refresh_from_db()
    assert cast.team.organisation.require_mfa == keeps
    cast.team.organisation.require_mfa = False
    cast.team.organisation.save()
    look = {"team": cast.team.slug, "user": cast.people["auditor"].pk, "days": "2", "reason": "a case of interest"}
    client.post(page(cast, "content_grant"), look)
    assert ContentGrant.objects.exists() == owns


@pytest.mark.parametrize("giver", [*SIGNED_IN, "anonymous"])
@pytest.mark.parametrize("role", list(Role))
def test_a_role_is_given_only_by_whose_role_reaches_it(cast: Cast, giver: str, role: Role) -> None:
    person = make_user(cast.team, Role.VIEWER)
    whole = role in (Role.AUDITOR, Role.ADMIN, Role.OWNER)
    place = "organisation" if whole else cast.team.slug
    cast.client(giver).post(page(cast, "role_set"), {"user": person.pk, "role": role, "place": place})
    may = giver in KEEPS_PEOPLE or (giver == "lead" and not whole)
    may = giver == "owner" if role == Role.OWNER else may
    if whole:
        assert OrganisationMembership.objects.filter(user=person, role=role).exists() == may
    elif role != Role.VIEWER:
        assert Membership.objects.filter(user=person, role=role).exists() == may
    assert AuditEntry.objects.filter(action="role.give").exists() == may


def test_nobody_of_another_organisation_is_given_anything(cast: Cast) -> None:
    stranger = cast.people["stranger"]
    answer = cast.client("owner").post(
        page(cast, "role_set"), {"user": stranger.pk, "role": "viewer", "place": cast.team.slug}
    )
    assert answer.status_code == 422
    assert not Membership.objects.filter(user=stranger, team=cast.team).exists()


def test_an_organisation_keeps_an_owner(cast: Cast) -> None:
    owner, organisation = cast.people["owner"], cast.team.organisation
    OrganisationMembership.objects.filter(user=cast.people["inactive"]).delete()
    for change in ("admin", "none"):
        form = {"user": owner.pk, "role": change, "place": "organisation"}
        answer = cast.client("owner").post(page(cast, "role_set"), form)
        assert answer.status_code == 422
        assert "at least one owner" in answer.content.decode()
    assert OrganisationMembership.objects.get(user=owner).role == Role.OWNER
    with pytest.raises(NotPossible, match="Only owners"):
        give_role(owner, Role.AUDITOR, organisation, None, by=cast.people["admin"])
    with pytest.raises(NotPossible):
        take_role(owner, organisation, None, by=cast.people["admin"])


def test_taking_a_role_takes_what_hung_on_it(cast: Cast) -> None:
    researcher = cast.people["researcher"]
    make_token(researcher, cast.team, "notebook")
    form = {"user": researcher.pk, "role": "none", "place": cast.team.slug}
    assert cast.client("lead").post(page(cast, "role_set"), form).status_code == 302
    assert not Membership.objects.filter(user=researcher).exists()
    assert not ApiToken.objects.filter(user=researcher).exists()
    entry = AuditEntry.objects.get(action="role.take")
    assert entry.document["changes"] == {"role": ["researcher", ""]}


def test_a_role_is_held_where_it_belongs(cast: Cast) -> None:
    person = make_user(cast.team, Role.VIEWER)
    for role, place in (("admin", cast.team.slug), ("viewer", "organisation"), ("root", cast.team.slug)):
        form = {"user": person.pk, "role": role, "place": place}
        assert cast.client("owner").post(page(cast, "role_set"), form).status_code == 422
    with pytest.raises(NotPossible):
        give_role(person, Role.ADMIN, cast.team.organisation, cast.team, by=cast.people["owner"])


# Invitations --------------------------------------------------------------------------------------------------------


def invited(cast: Cast, by: str = "lead", role: str = Role.RESEARCHER) -> str:
    team = None if role in (Role.AUDITOR, Role.ADMIN, Role.OWNER) else cast.team
    _, code = invite(cast.people[by], cast.team.organisation, team, "new@example.org", role)
    return code


def test_a_new_person_joins_with_a_code_and_an_account_of_their_own(cast: Cast) -> None:
    answer = cast.client("lead").post(
        page(cast, "invite"), {"email": "new@example.org", "role": "researcher", "place": cast.team.slug}
    )
    address = answer.context["invited"][1]
    assert address in answer.content.decode()
    assert address not in cast.client("lead").get(page(cast)).content.decode()
    client, join = Client(), reverse("teams:join")
    assert client.get(reverse("account_signup")).status_code == 200
    assert "by invitation" in client.get(reverse("account_signup")).content.decode()
    assert client.post(join, {"code": address.partition("#")[2]})["Location"] == join
    assert cast.team.name in client.get(join).content.decode()
    account = {
        "username": "newcomer",
        "email": "new@example.org",
        "password1": "long-enough-7",
        "password2": "long-enough-7",
    }
    assert client.post(reverse("account_signup"), {**account, "next": join})["Location"] == join
    assert "Join as newcomer" in client.get(join).content.decode()
    assert client.post(join)["Location"] == reverse("runs:session_list")
    newcomer = get_user_model().objects.get(username="newcomer")
    assert Membership.objects.get(user=newcomer).role == Role.RESEARCHER
    assert client.get(reverse("runs:session", args=[cast.session.uuid])).status_code == 200


def test_a_code_works_once(cast: Cast) -> None:
    code = invited(cast)
    first, second = make_user(), make_user()
    clients = []
    for user in (first, second):
        client = Client()
        client.force_login(user)
        client.post(reverse("teams:join"), {"code": code})
        clients.append(client)
    assert [client.post(reverse("teams:join")).status_code for client in clients] == [302, 404]
    assert Membership.objects.filter(user=first).exists()
    assert not Membership.objects.filter(user=second).exists()


@pytest.mark.parametrize("code", ["", "x", "%00", "x" * 5000])
def test_a_wrong_code_opens_nothing(cast: Cast, code: str) -> None:
    invited(cast)
    client = Client()
    answer = client.post(reverse("teams:join"), {"code": code})
    assert answer.status_code == 404
    assert "wrong, used or over" in answer.content.decode()
    assert "invitation" not in client.session


def test_an_invitation_ends_with_time_withdrawal_and_the_senders_own_right(cast: Cast) -> None:
    code, client = invited(cast), Client()
    person = make_user()
    client.force_login(person)
    client.post(reverse("teams:join"), {"code": code})
    Membership.objects.filter(user=cast.people["lead"]).update(role=Role.VIEWER)
    answer = client.post(reverse("teams:join"))
    assert answer.status_code == 409
    assert not Membership.objects.filter(user=person).exists()
    row = Invitation.objects.get()
    for name in ("viewer", "lead", "auditor", "stranger"):  # the lead is none any more
        assert cast.client(name).post(page(cast, "withdraw", row.uuid)).status_code == 404
    assert cast.client("admin").post(page(cast, "withdraw", row.uuid)).status_code == 302
    assert client.post(reverse("teams:join"), {"code": code}).status_code == 404


@pytest.mark.parametrize(("by", "role"), [("lead", Role.ADMIN), ("admin", Role.OWNER), ("viewer", Role.VIEWER)])
def test_nobody_invites_above_the_own_right(cast: Cast, by: str, role: Role) -> None:
    with pytest.raises(NotPossible):
        invited(cast, by, role)
    assert not Invitation.objects.exists()


def test_the_code_is_nowhere_at_rest(cast: Cast) -> None:
    code = invited(cast)
    row = Invitation.objects.get()
    assert code not in str(row.__dict__)
    assert not AuditEntry.objects.filter(body__contains=code).exists()


def test_an_invitation_goes_by_mail_where_there_is_a_server(cast: Cast, settings: Any, mailoutbox: list[Any]) -> None:
    form = {"email": "new@example.org", "role": "viewer", "place": cast.team.slug}
    cast.client("lead").post(page(cast, "invite"), form)
    assert mailoutbox == []
    settings.EMAIL_HOST = "mail.example.org"
    cast.client("lead").post(page(cast, "invite"), form)
    assert mailoutbox[0].to == ["new@example.org"]
    assert "/join/#" in mailoutbox[0].body


# Looks at content ---------------------------------------------------------------------------------------------------


def test_emergency_access_needs_a_reason_and_ends_by_hand_too(cast: Cast) -> None:
    admin, seen = cast.client("admin"), reverse("runs:session", args=[cast.session.uuid])
    assert admin.get(seen).status_code == 404
    form = {"team": cast.team.slug, "days": "1", "reason": "short"}
    assert admin.post(page(cast, "content_grant"), form).status_code == 422
    form["reason"] = "the session leaks a key, ticket 4711"
    assert admin.post(page(cast, "content_grant"), form).status_code == 302
    assert admin.get(seen).status_code == 200
    assert "emergency" in cast.client("owner").get(page(cast)).content.decode()
    entry = AuditEntry.objects.get(action="content.break_glass")
    assert entry.document["reason"] == form["reason"]
    row = ContentGrant.objects.get()
    assert cast.client("auditor").post(page(cast, "content_end", row.uuid)).status_code == 404
    assert admin.post(page(cast, "content_end", row.uuid)).status_code == 302
    assert admin.get(seen).status_code == 404


@pytest.mark.parametrize("name", ["viewer", "researcher", "lead", "auditor", "stranger", "superuser"])
def test_emergency_access_is_for_admins_and_owners(cast: Cast, name: str) -> None:
    with pytest.raises(NotPossible):
        break_glass(cast.people[name], cast.team, "because I want to see it")


# Second factor ------------------------------------------------------------------------------------------------------


def test_people_without_a_needed_second_factor_are_brought_to_set_one_up(cast: Cast) -> None:
    cast.client("owner").post(page(cast, "second_factor"), {"required": "yes"})
    client, html = cast.client("lead"), {"Accept": "text/html"}
    assert client.get("/", headers=html)["Location"] == reverse("mfa_index")
    assert client.get(reverse("mfa_index"), headers=html).status_code == 200
    assert client.get(reverse("runs:session", args=[cast.session.uuid])).status_code == 404
    assert client.get("/api/v1/sessions").json()["sessions"] == []


def test_the_access_review_is_a_table_without_formulas(cast: Cast) -> None:
    make_user(cast.team, username="=cmd|' /C calc'!A0", email="x@example.org")
    lines = cast.client("auditor").get(page(cast, "review")).content.decode().splitlines()
    assert lines[0].startswith("person,e-mail,role,where")
    assert sum(line.startswith(("\"'=cmd", "'=cmd")) for line in lines) == 1
    assert len(lines) == 1 + 4 + 4 + 1
    assert AuditEntry.objects.filter(action="people.export").count() == 1


def test_the_first_owner_is_made_by_who_has_the_shell(cast: Cast) -> None:
    person, organisation = make_user(), cast.team.organisation
    call_command("add_owner", person.username, "--organisation", organisation.slug, "--lead")
    assert OrganisationMembership.objects.get(user=person).role == Role.OWNER
    assert Membership.objects.get(user=person).team == cast.team
    assert AuditEntry.objects.get(action="role.give").source == "cli"
    with pytest.raises(CommandError, match="createsuperuser"):
        call_command("add_owner", "nobody")
