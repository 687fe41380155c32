"""The pages of re-executions."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from rlmweb.teams.models import Role
from runs.access import Actor
from runs.models import Job, Session
from runs.replay.reexecution.running import start_reexecution
from runs.services.config import Determinism
from runs.services.jobs import run_job
from tests.factories import make_user
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


def form_url(session: Session, step: int = 2) -> str:
    return reverse("runs:reexecution_new", args=[session.uuid, 0, step])


def test_one_is_started_watched_and_found_identical(client: Any) -> None:
    session = run_cells("x = 1\nprint(x)", "x += 1\nprint(x)")
    client.force_login(session.created_by)
    assert client.get(form_url(session)).status_code == 200
    response = client.post(form_url(session), {"scope": "session", "freeze_time": "on", "seed": "5"})
    job = Job.objects.get(kind="reexecute")
    assert (job.args["freeze_time"], job.args["seed"], job.args["node"]) == (True, 5, None)
    waiting = client.get(response.url).content.decode()
    assert "Waiting for a worker" in waiting
    run_job(job.uuid)
    page = client.get(response.url).content.decode()
    assert "<h1>Identical</h1>" in page
    assert "3 of 3 steps" in page
    part = client.get(response.url, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part


def test_the_first_difference_is_shown_with_its_cause_and_nothing_runs_as_markup(client: Any) -> None:
    session = run_cells("x = 1", "import random\nprint('<b>', random.random())\nlots = ['<i>', random.random()]")
    client.force_login(session.created_by)
    response = client.post(form_url(session), {"scope": "session"})
    run_job(Job.objects.get(kind="reexecute").uuid)
    page = client.get(response.url).content.decode()
    assert "<h1>Diverged</h1>" in page
    assert "Likely cause:</strong> randomness" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "[1]: " in page  # what differs inside the list


def test_the_form_says_what_a_repeatable_session_is_run_with(client: Any) -> None:
    session = run_cells("x = 1", determinism=Determinism(seed=41))
    client.force_login(session.created_by)
    assert "with seed 41" in client.get(form_url(session)).content.decode()
    plain = run_cells("x = 1")
    client.force_login(plain.created_by)
    assert "repeatable" not in client.get(form_url(plain)).content.decode()


def test_odd_input_is_refused_and_a_job_can_be_stopped(client: Any) -> None:
    session = run_cells("x = 1")
    client.force_login(session.created_by)
    assert client.post(form_url(session), {"scope": "everything"}).status_code == 422
    assert client.post(form_url(session), {"scope": "step", "seed": "-1"}).status_code == 422
    assert client.get(form_url(session, 77)).status_code == 404
    job = start_reexecution(actor=Actor(None, "test"), session=session)
    assert client.post(reverse("runs:reexecution_stop", args=[job.uuid])).status_code == 302
    job.refresh_from_db()
    assert job.status == "stopped"


def test_who_sees_and_who_starts(client: Any) -> None:
    session = run_cells("x = 1")
    job = start_reexecution(actor=Actor(None, "test"), session=session)
    client.force_login(make_user(session.team, role=Role.VIEWER))
    assert client.get(reverse("runs:reexecution", args=[job.uuid])).status_code == 200
    assert client.get(form_url(session)).status_code == 404
    assert client.post(reverse("runs:reexecution_stop", args=[job.uuid])).status_code == 404
    client.force_login(make_user())
    assert client.get(reverse("runs:reexecution", args=[job.uuid])).status_code == 404
