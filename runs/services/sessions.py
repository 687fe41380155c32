"""Sessions: started, stopped."""

from __future__ import annotations

import msgspec
from django.db import transaction

from rlmweb.audit.models import AuditEntry
from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.blobs import blob_store
from runs.events.types import ErrorInfo, NodeStarted, SessionStarted, SessionStopRequested
from runs.models import Context, Node, Session, SessionMeter, Step
from runs.services.children import wake_parent
from runs.services.config import SessionConfig, config_to_plain
from runs.services.dispatch import EXECUTE_STEP, send_on_commit
from runs.services.endings import end_session_early, stop_below, stop_nodes
from runs.services.places import check_places
from runs.services.policy_facts import facts_of_config
from runs.services.policy_stamp import stamp
from runs.services.quota_scopes import count_start
from runs.services.transaction import SessionTransaction, session_transaction

TITLE_CHARS = 120


def start_session(
    *, actor: Actor, team: Team, question: str, context: Context, config: SessionConfig, title: str = ""
) -> Session:
    """Start a session: its rows, first events and audit entry commit together, then the first step is sent.

    Raises `PolicyRefused`, `InvalidConfig` when its sandboxes cannot be had, and `QuotaExceeded` when no more sessions may
    be started.
    """
    require(Act.START, facts_of_config(team, actor, config))
    check_places(config, team)
    with transaction.atomic():
        session = Session.objects.create(
            team=team,
            created_by=actor.user,
            title=title or _title(question),
            question=question,
            context=context,
            config=config_to_plain(config),
            labels=config.labels,
            policy=stamp(team.organisation),
        )
        meter = SessionMeter.objects.create(session=session, nodes=1)
        root = Node.objects.create(session=session, number=0, depth=0)
        step = Step.objects.create(session=session, node=root, number=1)
        changes = SessionTransaction(session, meter, blob_store())
        changes.emit(started_event(session, context, config))
        changes.emit(NodeStarted(node=0, parent=None, depth=0, prompt=question, model=config.root.model))
        changes.flush()
        audit(
            "session.start",
            actor=actor.name,
            object_type="session",
            object_id=session.uuid,
            team_uuid=team.uuid,
            source=actor.source,
            details={"root_model": config.root.model, "provider": config.provider},
        )
        send_on_commit(EXECUTE_STEP, [[str(step.uuid)]])
        count_start(session, actor.user)
    return session


def stop_session(session: Session, *, actor: Actor, node: int = 0) -> bool:
    """Stop the session, or the subtree of one node. Idempotent; False when there was nothing left to stop."""
    with session_transaction(session) as changes:
        top = Node.objects.get(session=session, number=node)
        if top.status != Node.Status.RUNNING:
            return False
        changes.emit(SessionStopRequested(node=node, by=actor.name))
        if node == 0:
            end_session_early(changes, Session.Status.STOPPED, None)
        else:
            stop_below(changes, top)
            stop_nodes(changes, [top], Node.Status.STOPPED, None)
            wake_parent(top)
        audit(
            "session.stop",
            actor=actor.name,
            object_type="session",
            object_id=session.uuid,
            team_uuid=session.team.uuid,
            source=actor.source,
            details={"node": node},
        )
    return True


def started_event(session: Session, context: Context, config: SessionConfig) -> SessionStarted:
    shown = {
        "root_model": config.root.model,
        "root_api": config.root.api,
        "sub_model": config.sub_model.model,
        "sub_api": config.sub_model.api,
        "profile": config.root.profile,
        "provider": config.provider,
        "limits": msgspec.to_builtins(config.limits),
    }
    return SessionStarted(
        title=session.title,
        question=session.question,
        context={
            "name": context.name,
            "kind": context.kind,
            "size_bytes": context.size_bytes,
            "sha256": context.sha256,
        },
        config=shown,
        labels=session.labels,
    )


def stop_without_right(session: Session) -> None:
    """End a session whose initiator has lost the right to run it: found by a worker before a step."""
    _stop_denied(
        session, ErrorInfo("AccessEnded", "who started this session may not run sessions in its team any more")
    )


def stop_refused(session: Session, reason: str) -> None:
    """End a session whose next step the policy of its organisation forbids: found by a worker or by the clock."""
    _stop_denied(session, ErrorInfo("PolicyRefused", reason))


def _stop_denied(session: Session, reason: ErrorInfo) -> None:
    with session_transaction(session) as changes:
        end_session_early(changes, Session.Status.STOPPED, reason)
        audit(
            "session.stop",
            actor=session.created_by.get_username() if session.created_by else "system",
            object_type="session",
            object_id=session.uuid,
            team_uuid=session.team.uuid,
            source="worker",
            outcome=AuditEntry.Outcome.DENIED,
            particulars=Particulars(reason=reason.message[:500]),
        )


def _title(question: str) -> str:
    first_line = " ".join(question.split())
    return first_line if len(first_line) <= TITLE_CHARS else first_line[: TITLE_CHARS - 1] + "…"
