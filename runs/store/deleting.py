"""Deleting sessions: rows go at once, contents with the next collection unless somebody else uses them.

Forks live on: they have their own copies of the common past, and say that their source was deleted. Branches of the
session's rollouts are seen through the rollout only, so they go with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from rlmweb.audit.record import record as audit
from runs.access import Actor
from runs.models import Context, Job, Rollout, RolloutBranch, Session
from runs.services.giving_up import giving_up_of
from runs.services.quota_boxes import settle_boxes
from sandboxes.models import SandboxRecord, Snapshot


class CannotDelete(ValueError):
    """The session cannot be deleted now; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What goes with a session, for somebody to confirm. `refused`: why it cannot go; empty when it can."""

    branches: int
    snapshots: int
    forks: int
    """That live on."""
    refused: str


def deletion_of(session: Session) -> Deletion:
    going = _with_branches(session)
    return Deletion(
        branches=len(going) - 1,
        snapshots=Snapshot.objects.filter(session_uuid__in=[each.uuid for each in going]).count(),
        forks=Session.objects.filter(forked_from__in=going).exclude(pk__in=[each.pk for each in going]).count(),
        refused=_refusal(session, going),
    )


def delete_session(session: Session, *, actor: Actor) -> None:
    """Raises `CannotDelete` when it runs, is pinned, or is a branch that its rollout still needs. Idempotent."""
    with transaction.atomic():
        going = _with_branches(session)
        # In one order, so that two who delete the same do not wait for each other.
        for pk in sorted(each.pk for each in going):
            giving_up_of(pk)
        going = list(Session.objects.select_for_update().filter(pk__in=[each.pk for each in going]).order_by("pk"))
        if refused := _refusal(session, going):
            raise CannotDelete(refused)
        uuids = [each.uuid for each in going]
        Snapshot.objects.filter(session_uuid__in=uuids).delete()
        # A sandbox that still runs beside the session is ended by the reconciler, which needs its row.
        ended = SandboxRecord.objects.filter(session_uuid__in=uuids).exclude(state=SandboxRecord.State.RUNNING)
        settle_boxes(ended)  # what they took counts on
        ended.delete()
        for each in going:
            _audit(each, session, actor)
        contexts = [each.context_id for each in going]
        Session.objects.filter(pk__in=[each.pk for each in going]).delete()
        # Prompts of children that became contexts of their forks; all others are the team's.
        Context.objects.filter(pk__in=contexts, source="fork", sessions=None).delete()


def _with_branches(session: Session) -> list[Session]:
    """The session, hidden branches of its rollouts, of theirs, and so on."""
    going, found = {session.pk}, {session.pk}
    while found:
        branches = RolloutBranch.objects.filter(rollout__session__in=found, session__hidden=True)
        found = set(branches.values_list("session_id", flat=True)) - going
        going |= found
    return list(Session.objects.filter(pk__in=going).order_by("pk"))


def _refusal(session: Session, going: Iterable[Session]) -> str:
    pks = [each.pk for each in going]
    if (
        Rollout.objects.filter(branches__session=session, status=Rollout.Status.RUNNING)
        .exclude(session=session)
        .exists()
    ):
        return "The session is a branch of a rollout that runs. Stop the rollout first."
    if Rollout.objects.filter(session__in=pks, status=Rollout.Status.RUNNING).exists():
        return "A rollout of the session runs. Stop the rollout first."
    for each in going:
        one = "The session" if each.pk == session.pk else "A branch of one of its rollouts"
        if each.status == Session.Status.RUNNING:
            return f"{one} runs. Stop it first."
        if each.pinned:
            return f"{one} is pinned. Unpin it first."
    pinned = Snapshot.objects.filter(session_uuid__in=[each.uuid for each in going], pinned=True).order_by(
        "step_number"
    )
    if first := pinned.first():
        return f"The snapshot of step {first.step_number} is pinned. Unpin it first."
    working = Job.objects.filter(session__in=pks, status__in=(Job.Status.READY, Job.Status.RUNNING))
    if working.exists():
        return "The session is being executed again or scored. Stop that first, or wait until it is over."
    return ""


def _audit(deleted: Session, asked_for: Session, actor: Actor) -> None:
    audit(
        "session.delete",
        actor=actor.name,
        object_type="session",
        object_id=deleted.uuid,
        team_uuid=deleted.team.uuid,
        source=actor.source,
        details={} if deleted.pk == asked_for.pk else {"branch_of": str(asked_for.uuid)},
    )
