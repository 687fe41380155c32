"""The example for GPUs: without one it runs on the CPU, says so, and comes to the same answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.access import Actor
from runs.examples import example
from runs.examples.types import Tag
from runs.services.contexts import context_from_text
from runs.services.sessions import start_session
from tests.factories import make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_run_session import log

pytestmark = pytest.mark.django_db(transaction=True)


def test_without_a_gpu_the_scores_come_from_the_cpu_and_it_says_so(tmp_path: Path) -> None:
    built = example("scores").build(tmp_path / "context", seed=3, size_bytes=30_000)
    team = make_team()
    actor = Actor(make_user(team), "test")
    context = context_from_text(built.path.read_text(), actor=actor, team=team)
    config = scripted_config("score_chunks", example=built.tag)
    session = run_to_end(start_session(actor=actor, team=team, question=built.question, context=context, config=config))
    assert session.status == "finished", session.error_message
    assert Tag.decode(built.tag).check(session.answer or "").correct
    printed = "".join(event["text"] for event in log(session) if event["type"] == "cell.output")
    assert "scored on the CPU" in printed
