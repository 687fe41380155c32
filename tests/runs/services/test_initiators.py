"""Workers act with the rights that the initiator has at that moment."""

from __future__ import annotations

import pytest

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import Membership, Role
from runs.access import Actor
from runs.models import Job, Session, Step
from runs.services.execution import execute_step
from runs.services.jobs import job_kind, run_job, start_job
from runs.services.sessions import start_session
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end

pytestmark = pytest.mark.django_db(transaction=True)


def started(user: object, team: object) -> Session:
    return start_session(
        actor=Actor(user, "test"),  # type: ignore[arg-type]
        team=team,  # type: ignore[arg-type]
        question="?",
        context=make_context(team),  # type: ignore[arg-type]
        config=scripted_config("tour"),
    )


@pytest.mark.parametrize("loss", ["left", "viewer", "inactive"])
def test_a_session_ends_before_its_next_step_when_its_initiator_may_run_none(loss: str) -> None:
    team = make_team()
    user = make_user(team)
    session = started(user, team)
    match loss:
        case "left":
            Membership.objects.filter(user=user).delete()
        case "viewer":
            Membership.objects.filter(user=user).update(role=Role.VIEWER)
        case _:
            user.is_active = False
            user.save()
    execute_step(Step.objects.get(session=session).uuid)
    session.refresh_from_db()
    assert (session.status, session.error_type) == ("stopped", "AccessEnded")
    assert session.meter.lm_calls == 0
    entry = AuditEntry.objects.get(action="session.stop")
    assert (entry.outcome, entry.source) == ("denied", "worker")


def test_what_nobody_in_particular_started_runs() -> None:
    team = make_team()
    assert run_to_end(started(None, team)).status == "finished"


def test_a_job_is_refused_when_its_initiator_may_do_none() -> None:
    done: list[object] = []
    job_kind("test of rights")(done.append)
    team = make_team()
    user = make_user(team)
    allowed = start_job("test of rights", team=team, actor=Actor(user, "test"), args={})
    run_job(allowed.uuid)
    Membership.objects.filter(user=user).delete()
    refused = start_job("test of rights", team=team, actor=Actor(user, "test"), args={})
    run_job(refused.uuid)
    assert len(done) == 1
    assert [Job.objects.get(pk=job.pk).status for job in (allowed, refused)] == ["finished", "failed"]
    assert "may not run sessions" in Job.objects.get(pk=refused.pk).error_message
