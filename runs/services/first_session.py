"""The session that a new installation opens on: the standard library, asked by the local model where it is ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from rlmweb.teams.services import ensure_default_team, ensure_local_owner
from runs.access import Actor
from runs.examples import example, first_session_example
from runs.lm.embedded import status
from runs.lm.scripts.tour import QUESTION as TOUR_QUESTION
from runs.models import Session
from runs.services.choices import TOUR, embedded_model, scripted_model
from runs.services.config import SessionConfig
from runs.services.contexts import context_from_example
from runs.services.sessions import start_session

LOCK = 0x52_4C_4D_31
"""Name of the advisory lock."""


def start_first_session() -> Session | None:
    """Start a session if the installation has none yet; None when it has. Raises `ContextError`.

    While the weights of the local model are still on their way, the scripted tour runs instead, and says what it is.
    """
    with _alone():
        return None if Session.objects.exists() else _start(ready=status()["state"] == "ready")


def start_first_real_session() -> Session | None:
    """The local model is ready: start its first session, if it has had none. Raises `ContextError`."""
    with _alone():
        has_one = Session.objects.filter(config__root__api="embedded").exists()
        return None if has_one else _start(ready=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Two processes that both find no session must not start two."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield


def _start(*, ready: bool) -> Session:
    actor, team = Actor(ensure_local_owner(), "cli"), ensure_default_team()
    choice = first_session_example()
    context, built = context_from_example(
        choice.example.slug,
        actor=actor,
        team=team,
        seed=choice.seed,
        size_bytes=choice.size_bytes,
        question_kind=choice.question_kind,
    )
    if ready:
        config = SessionConfig(root=embedded_model(), example=built.tag)
        return start_session(actor=actor, team=team, question=built.question, context=context, config=config)
    config = SessionConfig(root=scripted_model(TOUR))
    title = f"Guided tour: {example(choice.example.slug).title}"
    return start_session(
        actor=actor, team=team, question=TOUR_QUESTION, context=context, config=config, title=title[:200]
    )
