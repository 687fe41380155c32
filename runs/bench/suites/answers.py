"""How many standard-library tasks the embedded model answers, through the product's own services.

Needs a running installation (`manage.py up`) whose embedded model is ready: `manage.py bench` reaches its database by
itself. Sessions run one after the other, because the model runs on this processor; they stay in the installation and
can be looked at afterwards. Accuracy has no goal: it is measured and published, whatever it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rlmweb.teams.services import ensure_default_team, ensure_local_owner
from runs.access import Actor
from runs.bench.bars import Target
from runs.bench.stats import p50
from runs.bench.suite import Bench, CannotMeasure, suite
from runs.blobs import blob_store
from runs.engine.limits import Limits
from runs.examples import Choice, Verdict, example, first_session_example
from runs.lm.embedded.known import DEFAULT
from runs.lm.embedded.reporting import status as model_status
from runs.models import Node, Session, Step
from runs.services.config import ModelConfig, SessionConfig
from runs.services.contexts import context_from_example
from runs.services.sessions import start_session, stop_session

ANSWERS = suite("answers", "Standard-library tasks with the embedded model, judged by syntax trees.")
FIRST_ANSWER_S = 60
SESSION_S = 300.0
SEEDS = (3, 1)
"""Questions of each kind: thorough, quick."""
POLL_S = 0.2


@dataclass(frozen=True)
class Outcome:
    question: str
    status: str
    answer: str
    verdict: Verdict
    duration_s: float

    @property
    def correct(self) -> bool:
        """An answer that a limit cut off is none, even if it happens to be right."""
        return self.status == Session.Status.FINISHED and self.verdict.correct


@ANSWERS.measurement(Target("first session answered", "s", at_most=FIRST_ANSWER_S))
def first_session(bench: Bench) -> None:
    outcome = ask(first_session_example())
    if not outcome.correct:
        raise CannotMeasure(f"it {outcome.status} with {outcome.answer[:80]!r}: {outcome.verdict.reason}")
    bench.record("first session answered", outcome.duration_s, note=outcome.question)


def ask(choice: Choice) -> Outcome:
    """Run one task as a session and judge its answer. Raises `CannotMeasure` when sessions cannot run here."""
    model = model_status()
    if model["state"] != "ready":
        raise CannotMeasure(f"the embedded model is {model['state']}; start `manage.py up` and wait. {model['error']}")
    actor, team = Actor(ensure_local_owner(), "cli"), ensure_default_team()
    context, built = context_from_example(
        choice.example.slug,
        actor=actor,
        team=team,
        seed=choice.seed,
        size_bytes=choice.size_bytes,
        question_kind=choice.question_kind,
    )
    session = start_session(actor=actor, team=team, question=built.question, context=context, config=_config(built.tag))
    _wait(session, actor)
    answer = _answer(session)
    assert session.finished_at is not None
    duration_s = (session.finished_at - session.created_at).total_seconds()
    return Outcome(built.question, session.status, answer, built.check(answer), duration_s)


def _config(tag: str) -> SessionConfig:
    model = ModelConfig(api="embedded", model=DEFAULT.name, profile="small")
    return SessionConfig(root=model, limits=Limits(max_wall_s=SESSION_S), example=tag)


def _wait(session: Session, actor: Actor) -> None:
    """Until the session is over. Its own limit ends it in time; the reserve here is for a worker that does not."""
    deadline = time.monotonic() + SESSION_S + 60
    while session.status == Session.Status.RUNNING:
        if time.monotonic() > deadline:
            stop_session(session, actor=actor)
            session.refresh_from_db()
            if not Step.objects.filter(session=session, started_at__isnull=False).exists():
                raise CannotMeasure("no worker took the session up; is `manage.py up` running?")
            return
        time.sleep(POLL_S)
        session.refresh_from_db()


def _answer(session: Session) -> str:
    """The whole answer; the session's row may hold its beginning only."""
    root = Node.objects.get(session=session, number=0)
    return blob_store().text(root.answer_sha256) if root.answer_sha256 else ""


def _accuracy(kind: str) -> Callable[[Bench], None]:
    def measure(bench: Bench) -> None:
        stdlib = example("stdlib")
        outcomes = []
        for seed in range(1, 1 + bench.rounds(*SEEDS)):
            outcome = ask(Choice(stdlib, kind, seed))
            outcomes.append(outcome)
            bench.say(f"  {'right' if outcome.correct else 'wrong'} in {outcome.duration_s:.0f} s: {outcome.question}")
            if not outcome.correct:
                bench.say(f"    expected {outcome.verdict.expected}; {outcome.status}: {outcome.answer[:200]!r}")
        right = sum(outcome.correct for outcome in outcomes)
        median_s = p50([outcome.duration_s for outcome in outcomes])
        bench.record(kind, 100 * right / len(outcomes), n=len(outcomes), note=f"median {median_s:.0f} s a session")

    measure.__name__ = kind
    return measure


for _kind in example("stdlib").question_kinds:
    ANSWERS.measurement(Target(_kind, "% right"))(_accuracy(_kind))
