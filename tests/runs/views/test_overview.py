"""The overview of an organisation: its own figures, no texts, a bounded number of questions."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from rlmweb.quotas.models import Waiting
from rlmweb.quotas.scopes import Scope, ScopeKind, scopes_of
from rlmweb.quotas.services import record_use
from rlmweb.quotas.setting import set_quota
from rlmweb.teams.models import OrganisationMembership, Role, Team
from runs.models import Node, Session, SessionMeter, Step
from runs.services.overview import MOST_ROWS, overview
from sandboxes.models import ProviderAccount, ProviderAttestation, SandboxRecord
from tests.factories import make_session, make_team, make_user

pytestmark = pytest.mark.django_db
SECRET = "what-somebody-wrote"


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def admin(team: Team) -> Client:
    user = make_user(username="the-admin")
    OrganisationMembership.objects.create(organisation=team.organisation, user=user, role=Role.ADMIN)
    client = Client()
    client.force_login(user)
    return client


def busy(team: Team, *, cost_usd: float = 1.0, **fields: Any) -> Session:
    session = make_session(team, title=SECRET, question=SECRET, **fields)
    SessionMeter.objects.filter(session=session).update(cost_micro_usd=int(cost_usd * 1e6), nodes=3, lm_calls=4)
    return session


def step(session: Session, number: int, status: str, **fields: Any) -> Step:
    node = Node.objects.get_or_create(session=session, number=0, defaults={"depth": 0})[0]
    return Step.objects.create(session=session, node=node, number=number, status=status, **fields)


def sandbox(session: Session, usd: str | None = "0.5", **fields: Any) -> SandboxRecord:
    price = Decimal(usd) if usd is not None else None
    given = {"provider": "modal", "ref": uuid4().hex, "node_uuid": uuid4(), "usd_per_hour": price, **fields}
    return SandboxRecord.objects.create(session_uuid=session.uuid, **given)


def fill(team: Team) -> Session:
    now = timezone.now()
    session = busy(team)
    make_session(team, status=Session.Status.FINISHED)
    step(session, 1, "ready")
    step(session, 2, "running", worker="one", lease_expires_at=now + timedelta(minutes=1))
    step(session, 3, "running", worker="two", lease_expires_at=now - timedelta(minutes=1))
    step(session, 4, "waiting")
    step(session, 5, "failed", error_type="SandboxLost", error_message=SECRET, finished_at=now)
    step(session, 6, "failed", error_type="SandboxLost", finished_at=now - timedelta(hours=25))
    sandbox(session, gpu="H100", gpu_count=2)
    sandbox(session, provider="local", usd="0")
    sandbox(session, state=SandboxRecord.State.TERMINATED)
    Waiting.objects.create(
        step_uuid=uuid4(), session_uuid=session.uuid, scope_kind="team", scope_uuid=team.uuid, resource="sessions",
        period="day", requested=1, sentence="",
    )  # fmt: skip
    record_use(scopes_of(team, None), {"cost_micro_usd": 2_500_000})
    set_quota(
        Scope(ScopeKind.ORGANISATION, team.organisation.uuid), "cost_micro_usd", "month",
        limit=5_000_000, soft_percent=80, on_exceed="pause", note="", actor="test",
    )  # fmt: skip
    account = {"team": team, "provider": "modal", "secrets_encrypted": b"x", "hint": "..."}
    ProviderAccount.objects.create(**account, checked_at=now, check_failed=True, check_text=SECRET)
    ProviderAttestation.objects.create(team=team, provider="modal", kind="soc2", valid_until=now.date(), reference="r")
    return session


def test_every_figure_is_of_the_organisation(team: Team) -> None:
    fill(team)
    fill(make_team())
    found = overview(team.organisation)
    assert (found.running_count, len(found.running)) == (1, 1)
    assert {(each.provider, each.count, each.gpus, each.usd_per_hour) for each in found.sandboxes} == {
        ("Modal", 1, 2, Decimal("0.5")),
        ("This machine", 1, 0, Decimal(0)),
    }
    queue = found.queue
    assert (queue.ready, queue.running, queue.waiting, queue.late, queue.workers) == (1, 2, 1, 1, 1)
    assert queue.oldest_ready_at is not None
    assert (found.spent.today, found.spent.month) == (2_500_000, 2_500_000)
    assert [each.percent for each in found.budgets] == [50]
    assert (found.held_up, found.failed_count, found.failed_kinds) == (1, 1, [("SandboxLost", 1)])
    assert [account.check_failed for account in found.accounts] == [True]
    assert [each.kind for each in found.ending] == ["soc2"]


def test_one_team_can_be_looked_at_alone(team: Team) -> None:
    fill(team)
    other = make_team(team.organisation)
    busy(other)
    assert overview(team.organisation).running_count == 2
    alone = overview(team.organisation, other)
    assert (alone.running_count, alone.accounts) == (1, [])
    assert (alone.spent.today, alone.budgets) == (0, [])
    assert overview(team.organisation, team).spent.today == 2_500_000


def test_a_price_that_is_not_known_is_not_zero(team: Team) -> None:
    session = busy(team)
    sandbox(session)
    sandbox(session, usd=None)
    assert [each.usd_per_hour for each in overview(team.organisation).sandboxes] == [None]


def test_an_organisation_in_which_nothing_happens_has_a_page(team: Team, admin: Client) -> None:
    page = admin.get(f"/overview/{team.organisation.slug}/").content.decode()
    assert "No session runs." in page
    assert "No team has a key" in page


def test_the_page_holds_nothing_that_somebody_wrote(team: Team, admin: Client) -> None:
    session = fill(team)
    page = admin.get("/overview/", follow=True).content.decode()
    assert SECRET not in page
    assert str(session.uuid)[:8] in page
    assert f"/sessions/{session.uuid}/" not in page  # an admin does not see what it holds
    assert "SandboxLost" in page
    assert "refused" in page


def test_whoever_may_see_a_session_is_led_to_it(team: Team) -> None:
    session = fill(team)
    user = make_user(team, Role.LEAD)
    OrganisationMembership.objects.create(organisation=team.organisation, user=user, role=Role.AUDITOR)
    client = Client()
    client.force_login(user)
    assert f"/sessions/{session.uuid}/#node=0" in client.get("/overview/", follow=True).content.decode()


def test_the_page_asks_a_bounded_number_of_questions(team: Team, admin: Client) -> None:
    fill(team)
    address = f"/overview/{team.organisation.slug}/"
    admin.get(address)
    with CaptureQueriesContext(
        connection,
    ) as few:
        admin.get(address)
    for number in range(MOST_ROWS + 20):
        step(busy(team, cost_usd=number), 1, "failed", error_type=f"Kind{number % 7}", finished_at=timezone.now())
    with CaptureQueriesContext(connection) as many:
        page = admin.get(address).content.decode()
    assert len(many) == len(few)
    assert f"the {MOST_ROWS} dearest of {MOST_ROWS + 21}" in page


def test_the_files_have_every_row_and_are_in_the_log(team: Team, admin: Client) -> None:
    for number in range(MOST_ROWS + 5):
        busy(team, cost_usd=number, created_by=make_user(team, username=f"=HYPERLINK{number}") if number < 1 else None)
    busy(make_team())
    text = admin.get(f"/overview/{team.organisation.slug}/running.csv").content.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == MOST_ROWS + 5
    assert rows[0]["USD"] == f"{MOST_ROWS + 4}.000000"
    assert "'=HYPERLINK0" in {row["started by"] for row in rows}
    assert SECRET not in text
    entry = AuditEntry.objects.get(action="overview.export")
    assert (entry.chain, entry.object_id) == (team.organisation.uuid, str(team.organisation.uuid))
    fill(team)
    failed = list(
        csv.DictReader(io.StringIO(admin.get(f"/overview/{team.organisation.slug}/failed.csv").content.decode()))
    )
    assert [row["error"] for row in failed] == ["SandboxLost"]


@pytest.mark.parametrize("path", ["nothing.csv", "?team=of-somebody-else", "?team=%00"])
def test_what_there_is_not_is_said_so(team: Team, admin: Client, path: str) -> None:
    expected = 200 if path.endswith("%00") else 404
    assert admin.get(f"/overview/{team.organisation.slug}/{path}").status_code == expected


def test_a_refresh_is_answered_with_the_inner_part(team: Team, admin: Client) -> None:
    part = admin.get(f"/overview/{team.organisation.slug}/", headers={"x-refresh": "1"}).content.decode()
    assert part.strip().startswith("<div")
    assert "<html" not in part


def test_with_two_organisations_there_is_a_choice(team: Team, admin: Client) -> None:
    other = make_team().organisation
    user = OrganisationMembership.objects.get(organisation=team.organisation).user
    OrganisationMembership.objects.create(organisation=other, user=user, role=Role.AUDITOR)
    page = admin.get("/overview/").content.decode()
    assert f"/overview/{team.organisation.slug}/" in page
    assert f"/overview/{other.slug}/" in page
