"""Sessions within quotas: whole ones over the real sandbox service, with scripted models that have a price."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.models import Balance, LedgerEntry, Quota, Reservation, Waiting
from rlmweb.quotas.scopes import WHOLE, Scope
from rlmweb.quotas.services import record_use, reserve
from rlmweb.quotas.warnings import warned
from rlmweb.teams.models import Team
from runs.access import Actor
from runs.engine.limits import Limits
from runs.lm.base import Usage
from runs.lm.prices import Cost
from runs.models import Context, Event, LmCall, Node, Session, Step
from runs.replay.archive.exporting import export_session
from runs.replay.archive.spooling import Options
from runs.services.contexts import ContextError, context_from_text
from runs.services.endpoints import Endpoint
from runs.services.limits import Reservation as Most
from runs.services.quota_boxes import holder_of, keep_reservations
from runs.services.quota_calls import admit
from runs.services.quota_storage import measure_storage
from runs.services.sessions import start_session, stop_session
from runs.services.transaction import session_transaction
from sandboxes import services as sandbox_services
from sandboxes.models import SandboxRecord
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end, run_until
from tests.runs.services.test_run_session import ANSWER, rules, turn

pytestmark = pytest.mark.django_db(transaction=True)

CALLS = "replies = llm_query_batched([f'item {n}' for n in range(20)])\n" + ANSWER.format("len(replies)")
LEAF = {"when": {"kind": "leaf"}, "reply": "{index}"}


def price(input_tokens: int, output_tokens: int) -> int:
    return 7 * input_tokens + 13 * output_tokens


@pytest.fixture(autouse=True)
def priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripted models are free; here they cost what their tokens cost."""

    def cost(self: Endpoint, usage: Usage) -> Cost:
        return Cost(price(usage.input_tokens or 0, usage.output_tokens or 0), "test")

    monkeypatch.setattr(Endpoint, "cost", cost)
    monkeypatch.setattr(Endpoint, "estimate_micro_usd", lambda self, i, o: price(i, o))


@pytest.fixture
def team() -> Team:
    return make_team()


def limit(team: Team, resource: str, most: int, on_exceed: str = "pause", period: str = "day") -> Quota:
    return Quota.objects.create(
        scope_kind="team",
        scope_uuid=team.uuid,
        resource=resource,
        limit=most,
        period=period,
        on_exceed=on_exceed,
        set_by="test",
    )


def start(team: Team, script: dict[str, Any], **config: Any) -> Session:
    user = make_user(team)
    return start_session(
        actor=Actor(user, "test"),
        team=team,
        question="How many?",
        context=make_context(team),
        config=scripted_config(script, **config),
    )


def used(resource: str, scope: Scope, period: str = "day") -> tuple[int, int]:
    row = Balance.objects.filter(scope_kind=scope.kind, scope_uuid=scope.uuid, resource=resource, period=period).first()
    return (row.used, row.reserved) if row is not None else (0, 0)


def of_team(team: Team) -> Scope:
    return Scope("team", team.uuid)


def hits(session: Session) -> Iterator[dict[str, Any]]:
    for row in Event.objects.filter(session=session, type="limit.hit").order_by("seq"):
        yield json.loads(row.data)


def make_due(session: Session) -> None:
    """What waits may be tried again now."""
    Step.objects.filter(session=session, status=Step.Status.READY).update(lease_expires_at=None)


def test_the_ledger_equals_what_the_session_used() -> None:
    code = "answers = rlm_query_batched(['one', 'two words'])\n" + CALLS
    script = rules(LEAF, turn(1, code, depth=0), turn(1, ANSWER.format("1"), depth=1))
    session = run_to_end(start(team := make_team(), script, limits=Limits(max_depth=2)))
    assert session.status == "finished"
    session.meter.refresh_from_db()
    meter = session.meter
    assert meter.cost_micro_usd == price(meter.input_tokens, meter.output_tokens) > 0
    assert session.created_by is not None
    for name in ("input_tokens", "output_tokens", "cost_micro_usd"):
        booked = LedgerEntry.objects.filter(session_uuid=session.uuid, resource=name)
        sums = booked.aggregate(used=Sum("used"), reserved=Sum("reserved"))
        assert sums == {"used": getattr(meter, name), "reserved": 0}
        for scope in (of_team(team), Scope("organisation", team.organisation.uuid), WHOLE):
            for period in ("day", "month"):
                assert used(name, scope, period) == (getattr(meter, name), 0)
    assert used("sessions", of_team(team)) == (1, 0)


def test_calls_wait_for_room_and_go_on_by_themselves_without_paying_twice(team: Team) -> None:
    session = start(team, rules(LEAF, turn(1, CALLS)))
    quota = limit(team, "output_tokens", 4_100)  # each call reserves 4,096 of them
    run_until(lambda: Waiting.objects.filter(session_uuid=session.uuid).exists())
    session.refresh_from_db()
    assert session.status == "running"
    assert used("output_tokens", of_team(team))[1] <= 4_100
    for _ in range(3):
        make_due(session)
        run_until(lambda: Step.objects.filter(session=session, lease_expires_at__gt=timezone.now()).exists())
    assert [hit["limit"] for hit in hits(session)] == ["quota.output_tokens.team.day"]
    assert "raise the limit" in Waiting.objects.get(session_uuid=session.uuid).sentence
    quota.limit = 1_000_000
    quota.save()
    make_due(session)
    assert run_to_end(session).answer == "20"
    assert not Waiting.objects.filter(session_uuid=session.uuid).exists()
    assert not LmCall.objects.filter(session=session, maybe_repeated=True).exists()
    session.meter.refresh_from_db()
    assert used("output_tokens", of_team(team)) == (session.meter.output_tokens, 0)


def test_a_quota_can_end_the_session_with_what_it_has(team: Team) -> None:
    limit(team, "cost_micro_usd", 10, on_exceed="stop", period="month")
    session = run_to_end(start(team, rules(LEAF, turn(1, CALLS))))
    assert (session.status, session.error_type) == ("limited", "QuotaExceeded")
    assert "Cost of model calls of the team" in session.error_message
    assert [hit["limit"] for hit in hits(session)] == ["quota.cost_micro_usd.team.month"]
    assert used("cost_micro_usd", of_team(team)) == (0, 0)


def test_a_start_that_is_refused_leaves_nothing_behind(team: Team) -> None:
    limit(team, "sessions", 1)
    start(team, rules(turn(1, ANSWER.format("1"))))
    with pytest.raises(QuotaExceeded) as refused:
        start(team, rules(turn(1, ANSWER.format("1"))))
    assert (refused.value.scope, refused.value.used, refused.value.limit) == (of_team(team), 1, 1)
    assert refused.value.resets_at is not None
    assert refused.value.resets_at > timezone.now()
    assert Session.objects.filter(team=team).count() == 1
    assert used("sessions", WHOLE) == (1, 0)


def test_a_session_waits_for_a_slot_and_gets_it_when_the_sandbox_is_gone(team: Team) -> None:
    limit(team, "concurrent_sandboxes", 1, period="none")
    held = reserve([of_team(team)], {"concurrent_sandboxes": 1}, holder="somebody")
    session = start(team, rules(turn(1, ANSWER.format("1"))))
    run_until(lambda: Waiting.objects.filter(session_uuid=session.uuid).exists())
    assert not LmCall.objects.filter(session=session).exists()  # nothing was asked for nothing
    assert SandboxRecord.objects.filter(session_uuid=session.uuid).count() == 0
    Reservation.objects.filter(uuid=held.uuid).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert keep_reservations()["released"] == 1
    make_due(session)
    assert run_to_end(session).status == "finished"
    assert used("concurrent_sandboxes", of_team(team), "none") == (0, 1)
    record = SandboxRecord.objects.get(session_uuid=session.uuid)
    # Nobody wants the sandbox any more; its slot is free when its provider says that it is gone.
    run_until(lambda: keep_reservations()["settled"] == 1)
    assert used("concurrent_sandboxes", of_team(team), "none") == (0, 0)
    assert record.ended_at is not None
    took_ms = int((record.ended_at - record.created_at).total_seconds() * 1000)
    assert used("sandbox_ms", of_team(team)) == (took_ms, 0)


def test_a_slot_is_kept_while_the_sandbox_may_still_run(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    session = run_to_end(start(team, rules(turn(1, ANSWER.format("1")))))
    monkeypatch.setattr(sandbox_services, "gone_among", lambda refs: set())
    assert keep_reservations()["settled"] == 0
    assert used("concurrent_sandboxes", of_team(team), "none") == (0, 1)
    left = Reservation.objects.filter(session_uuid=session.uuid)
    left.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert keep_reservations()["settled"] == 1  # nobody can say; the lease decides


def test_what_a_killed_worker_reserved_is_free_within_a_minute(team: Team) -> None:
    session = start(team, rules(turn(1, ANSWER.format("1"))))
    node = Node.objects.get(session=session)
    held = reserve([of_team(team)], {"concurrent_sandboxes": 1}, holder=holder_of(node))
    over = timezone.now() - timedelta(seconds=1)
    # While a living worker has the step, making a sandbox may take as long as it takes.
    Step.objects.filter(node=node).update(status="running", lease_expires_at=timezone.now() + timedelta(seconds=12))
    Reservation.objects.filter(uuid=held.uuid).update(lease_expires_at=over)
    assert keep_reservations() == {"renewed": 1, "settled": 0, "released": 0}
    held.refresh_from_db()
    assert timedelta(0) < held.lease_expires_at - timezone.now() <= timedelta(seconds=50)
    # The worker is killed: its step is not renewed any more, and so is what it holds.
    Step.objects.filter(node=node).update(lease_expires_at=over)
    assert keep_reservations()["renewed"] == 0
    Reservation.objects.filter(uuid=held.uuid).update(lease_expires_at=over)
    assert keep_reservations()["released"] == 1
    assert used("concurrent_sandboxes", of_team(team), "none") == (0, 0)


def test_a_running_sandbox_is_charged_ahead_and_its_lease_renewed(team: Team) -> None:
    session = start(team, rules(LEAF, turn(1, "print(1)"), turn(2, ANSWER.format("1"))))
    run_until(lambda: SandboxRecord.objects.filter(session_uuid=session.uuid).exists())
    if not SandboxRecord.objects.filter(session_uuid=session.uuid, state="running").exists():
        SandboxRecord.objects.filter(session_uuid=session.uuid).update(state="running", ended_at=None)
    earlier = timezone.now() - timedelta(seconds=90)
    SandboxRecord.objects.filter(session_uuid=session.uuid).update(created_at=earlier)
    assert keep_reservations()["renewed"] == 1
    assert used("sandbox_ms", of_team(team))[1] >= 150_000
    row = Reservation.objects.get(session_uuid=session.uuid)
    assert row.holds["sandbox_ms"] == used("sandbox_ms", of_team(team))[1]


def test_no_step_begins_when_the_time_of_sandboxes_is_used_up(team: Team) -> None:
    limit(team, "sandbox_ms", 60_000, on_exceed="stop")
    session = start(team, rules(turn(1, ANSWER.format("1"))))
    record_use([WHOLE, of_team(team)], {"sandbox_ms": 60_001}, strict=False)
    assert run_to_end(session).error_type == "QuotaExceeded"


def test_nodes_of_a_session_are_capped(team: Team) -> None:
    limit(team, "nodes_per_session", 2, period="none")
    code = "answers = rlm_query_batched(['one', 'two words'])\n" + ANSWER.format("len(answers)")
    script = rules(turn(1, code, depth=0), turn(1, ANSWER.format("1"), depth=1))
    session = run_to_end(start(team, script, limits=Limits(max_depth=2)))
    assert session.status == "limited"
    assert [hit["limit"] for hit in hits(session)] == ["quota.nodes_per_session.team"]


def test_exports_are_counted_and_refused(team: Team) -> None:
    limit(team, "exports", 1)
    session = run_to_end(start(team, rules(turn(1, ANSWER.format("1")))))
    actor = Actor(session.created_by, "test")
    export_session(session, Options(), actor=actor)
    entries = AuditEntry.objects.filter(action="session.export").count()
    with pytest.raises(QuotaExceeded):
        export_session(session, Options(), actor=actor)
    assert AuditEntry.objects.filter(action="session.export").count() == entries


def test_storage_is_counted_refused_and_measured(team: Team) -> None:
    limit(team, "storage_bytes", 1_000, period="none")
    actor = Actor(make_user(team), "test")
    context = context_from_text("x" * 900, actor=actor, team=team)
    with pytest.raises(ContextError, match="delete contexts"):
        context_from_text("y" * 101, actor=actor, team=team)
    Context.objects.filter(pk=context.pk).delete()
    assert used("storage_bytes", of_team(team), "none") == (900, 0)
    assert measure_storage() == 1
    assert used("storage_bytes", of_team(team), "none") == (0, 0)
    assert measure_storage() == 0


def test_people_are_warned_at_the_soft_limit_and_at_the_whole(team: Team) -> None:
    limit(team, "sessions", 4)
    script = rules(turn(1, ANSWER.format("1")))
    told = []
    for _ in range(4):
        start(team, script)
        found = AuditEntry.objects.filter(action="quota.warn").order_by("id")
        told.append([entry.details["percent"] for entry in found])
    assert told == [[], [], [], [80, 100]]
    (standing,) = warned([WHOLE, of_team(team)])
    assert standing.is_full
    assert "Sessions started (team): 4 of 4" in standing.sentence


def test_stopping_a_session_gives_back_what_its_calls_had_reserved(team: Team) -> None:
    session = start(team, rules({"when": {"kind": "turn"}, "reply": "x", "latency_ms": 60_000}))
    row = LmCall.objects.filter(session=session)
    node = Node.objects.get(session=session)
    step = Step.objects.get(session=session)
    with session_transaction(session) as changes:
        now = timezone.now()
        assert admit(changes, [Most(300, 50, 100)], now) == (1, None)
        changes.meter.tokens_reserved, changes.meter.lm_calls_reserved = 300, 1
        changes.meter.cost_reserved_micro_usd = 50
        LmCall.objects.create(
            session=session,
            step=step,
            number=1,
            kind="turn",
            subcall="",
            request_sha256="0" * 64,
            model="m",
            reserved_tokens=300,
            reserved_output_tokens=100,
            reserved_micro_usd=50,
            started_at=now,
        )
    assert used("input_tokens", of_team(team)) == (0, 200)
    assert stop_session(session, actor=Actor(session.created_by, "test"), node=node.number)
    assert row.get().status == "abandoned"
    assert [used(name, of_team(team)) for name in ("input_tokens", "output_tokens", "cost_micro_usd")] == [(0, 0)] * 3


@pytest.mark.parametrize(("slots", "status"), [(1, "limited"), (2, "finished")])
def test_nodes_that_hold_all_slots_and_wait_for_each_other_are_let_go(team: Team, slots: int, status: str) -> None:
    # The parent keeps its sandbox while its children need theirs: with one slot nobody would ever go on.
    limit(team, "concurrent_sandboxes", slots, period="none")
    code = "answers = rlm_query_batched(['one', 'two words'])\n" + ANSWER.format("'+'.join(answers)")
    script = rules(turn(1, code, depth=0), turn(1, ANSWER.format("len(context.split())"), depth=1))
    session = start(team, script, limits=Limits(max_depth=2))

    def over() -> bool:
        keep_reservations()
        make_due(session)
        session.refresh_from_db()
        return session.status != Session.Status.RUNNING

    run_until(over)
    assert session.status == status
    assert ("depth of the recursion" in session.error_message) == (slots == 1)
    assert session.answer == ("1+2" if slots == 2 else None)
