"""Starting a fork: its rows, the copied past, its first own event and step, in one transaction."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction

from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.blobs import blob_store
from runs.engine.state import StepState, to_plain
from runs.events.types import NodeStarted, SessionForked
from runs.models import Context, Node, NodeMessage, Session, SessionMeter, Step
from runs.replay.changes import Changes
from runs.replay.forks.copying import PastCopy
from runs.replay.forks.differences import differences_of
from runs.replay.forks.errors import CannotFork
from runs.replay.forks.past import conversation_at, past_of, recorded_at
from runs.replay.forks.variables import code_of
from runs.replay.origin import Difference, Origin, origin_to_plain
from runs.replay.reexecution.starts import ran_code
from runs.services.config import SessionConfig, config_from_plain, config_to_plain
from runs.services.dispatch import EXECUTE_STEP, send_on_commit
from runs.services.giving_up import copying_from
from runs.services.places import check_places
from runs.services.policy_facts import about, facts_of_config
from runs.services.policy_stamp import stamp
from runs.services.quota_scopes import count_start
from runs.services.sessions import TITLE_CHARS, started_event
from runs.services.snapshots.reading import SnapshotMissing, manifest_text, require_snapshot
from runs.services.transaction import SessionTransaction
from runs.text import scrub
from sandboxes.models import Snapshot

BATCH_ROWS = 1000


def fork_session(
    *,
    actor: Actor,
    team: Team,
    source: Session,
    node: int,
    step: int,
    changes: Changes,
    title: str = "",
    hidden: bool = False,
    rollout: str = "",
) -> Session:
    """Start a session that goes on from the end of `step` of `node` in `source` (0: before its first step).

    The node becomes the root of the new session; what it did until then, and its subtree, are copied. Raises `CannotFork`,
    `SnapshotError`, `InvalidConfig`, `PolicyRefused` before anything is written.
    """
    top = Node.objects.filter(session=source, number=node).select_related("session__context").first()
    if top is None:
        raise CannotFork(f"The session has no node {node}.")
    config = _config(source, changes)
    require_fork(source, team, actor, config)
    check_places(config, source.team)
    base = _base(source, top, step)
    state = _node_state(top, step)
    code = code_of(changes.variables)
    if code and step == 0:
        raise CannotFork("Variables can be changed from the end of step 1 on: before it there is no state.")
    past = past_of(source, top, step)
    texts = _texts(top, step, changes)
    differences = differences_of(changes, source.config, texts)
    with transaction.atomic():
        copying_from(source.pk)
        _require_still_there(source, base)
        session = _create(actor, team, source, top, config, changes, title, hidden=hidden)
        copy = PastCopy(source, session, past)
        copy.rows()
        root = copy.new_nodes[top.pk]
        copied = copy.snapshot_of.get(base.uuid) if base is not None else None
        Node.objects.filter(pk=root.pk).update(state=state, base_snapshot=copied, base_code=code)
        _edit_messages(root, changes, texts)
        meter = SessionMeter.objects.create(session=session, nodes=len(past.nodes), last_call=copy.last_call)
        record = SessionTransaction(session, meter, blob_store())
        record.emit(started_event(session, session.context, config))
        record.flush()
        inherited = copy.events(meter.last_seq)
        meter.last_seq += inherited
        own = SessionTransaction(session, meter, blob_store())
        if step == 0:
            own.emit(NodeStarted(node=0, parent=None, depth=0, prompt=session.question, model=config.root.model))
        own.emit(_forked_event(source, node, step, copied, differences))
        first = _first_step(session, root, step, changes, meter)
        own.flush()
        session.origin = origin_to_plain(
            Origin(
                kind="branch" if rollout else "fork",
                session=str(source.uuid),
                title=source.title,
                node=node,
                step=step,
                snapshot=str(base.uuid) if base is not None else "",
                inherited_seq=meter.last_seq,
                differences=differences,
                rollout=rollout,
            )
        )
        session.save(update_fields=["origin"])
        audit(
            "session.fork",
            actor=actor.name,
            object_type="session",
            object_id=session.uuid,
            team_uuid=team.uuid,
            source=actor.source,
            details={"from": str(source.uuid), "node": node, "step": step, "rollout": rollout},
        )
        send_on_commit(EXECUTE_STEP, [[str(first.uuid)]])
        count_start(session, actor.user)
    return session


def require_fork(source: Session, team: Team, actor: Actor, config: SessionConfig) -> None:
    """Raises `PolicyRefused`: not allowed where it comes from, or where it goes."""
    across = team.pk != source.team_id
    more = {**about(source), "across_teams": across, "details": {"to": str(team.uuid)} if across else {}}
    for place in (source.team, team) if across else (team,):
        require(Act.FORK, facts_of_config(place, actor, config, **more))


# Checks before anything is written --------------------------------------------------------------------------------------


def _config(source: Session, changes: Changes) -> SessionConfig:
    plain = dict(changes.config if changes.config is not None else source.config)
    if changes.system_prompt is not None:
        plain["system_prompt"] = changes.system_prompt
    return config_from_plain(plain)


def _base(source: Session, top: Node, step: int) -> Snapshot | None:
    if step == 0:
        return None
    found = Step.objects.filter(node=top, number=step).first()
    if found is None:
        raise CannotFork(f"Node {top.number} has no step {step}.")
    if found.finished_at is None:
        raise CannotFork(f"Step {step} of node {top.number} is not over yet. Fork from a step before it.")
    try:
        return require_snapshot(source, top.number, step)
    except SnapshotMissing:
        if ran_code(top, step):
            raise
        return None  # there is no state to go back to but its context


def _require_still_there(source: Session, base: Snapshot | None) -> None:
    """Between the checks and the lock somebody may have deleted the session, or the policy given up its snapshot."""
    if not Session.objects.filter(pk=source.pk).exists():
        raise CannotFork("The session was deleted meanwhile.")
    if base is not None:
        base.refresh_from_db()
        manifest_text(base)


def _node_state(top: Node, step: int) -> dict[str, Any]:
    if step == 0:
        return {}
    state: dict[str, Any] = Step.objects.values_list("node_state", flat=True).get(node=top, number=step)
    if not state:
        raise CannotFork(
            f"Step {step} was recorded by an earlier release, which kept too little to go on from it. Choose a later one."
        )
    return state


# What is the fork's own -------------------------------------------------------------------------------------------------


def _create(
    actor: Actor,
    team: Team,
    source: Session,
    top: Node,
    config: SessionConfig,
    changes: Changes,
    title: str,
    *,
    hidden: bool,
) -> Session:
    context = source.context
    question = source.question
    if top.parent_id is not None:
        question = f"Sub-call {top.number} of: {source.question}"
        context = Context.objects.create(
            team=team,
            created_by=actor.user,
            name=f"prompt of node {top.number}",
            kind=Context.Kind.TEXT,
            sha256=top.prompt_sha256,
            size_bytes=top.prompt_chars,
            source="fork",
        )
    question = scrub(changes.question) if changes.question is not None else question
    return Session.objects.create(
        team=team,
        created_by=actor.user,
        title=scrub(title)[:TITLE_CHARS] or source.title,
        question=question,
        context=context,
        config=config_to_plain(config),
        labels=config.labels,
        forked_from=source,
        hidden=hidden,
        policy=stamp(team.organisation, source.policy.get("data_class", "")),
        # A real one follows in the same transaction; events are copied first.
        origin={},
    )


def _first_step(session: Session, root: Node, step: int, changes: Changes, meter: SessionMeter) -> Step:
    state = StepState()
    if changes.reply is not None:
        meter.last_call += 1
        state.given, state.given_call = scrub(changes.reply), meter.last_call
    return Step.objects.create(session=session, node=root, number=step + 1, state=to_plain(state))


def _texts(top: Node, step: int, changes: Changes) -> dict[str, str]:
    """What the changed texts are before the change. Raises `CannotFork` for a message that there is not."""
    messages = {message.position: message.content for message in conversation_at(top, step)}
    texts = recorded_at(top, step).texts()
    for position in changes.messages:
        if position not in messages:
            raise CannotFork(f"The conversation has no message {position + 1} at the end of step {step}.")
        texts[f"message {position}"] = messages[position]
    return texts


def _edit_messages(root: Node, changes: Changes, texts: dict[str, str]) -> None:
    """Change the copied conversation: whole messages, its system prompt, and the question wherever it stands in it."""
    rows = list(NodeMessage.objects.filter(node=root).order_by("epoch", "position"))
    rows = [row for row in rows if row.epoch == rows[-1].epoch] if rows else []
    for row in rows:
        if row.role == "system" and row.position == 0 and changes.system_prompt is not None:
            row.content = scrub(changes.system_prompt)
        if changes.question is not None and row.role != "assistant" and texts["question"]:
            row.content = row.content.replace(texts["question"], scrub(changes.question))
        if row.position in changes.messages:
            row.content = scrub(changes.messages[row.position])
    NodeMessage.objects.bulk_update(rows, ["content"], batch_size=BATCH_ROWS)


def _forked_event(
    source: Session, node: int, step: int, snapshot: object, differences: list[Difference]
) -> SessionForked:
    shown = [{"what": each.what, "before": each.before[:120], "after": each.after[:120]} for each in differences[:8]]
    return SessionForked(
        from_session=str(source.uuid),
        from_title=source.title,
        from_node=node,
        from_step=step,
        snapshot=str(snapshot or ""),
        differences=json.loads(json.dumps(shown)),
    )
