"""Child nodes: opened by a sub-call, and answering it when they end."""

from __future__ import annotations

from collections.abc import Iterable

from runs.blobs import BlobStore, Stored
from runs.engine.io import CallKey, ChildEnded, OpenChildren
from runs.events.types import NodeStarted
from runs.models import Node, Step
from runs.services.config import SessionConfig
from runs.services.dispatch import EXECUTE_STEP, send_on_commit
from runs.services.limits import Exceeded, reserve_nodes
from runs.services.quota_nodes import refuse_nodes
from runs.services.transaction import SessionTransaction

Prompts = dict[CallKey, tuple[str, Stored]]
"""Prompts of the children to open, with their contents already in the blob store."""


def store_prompts(command: OpenChildren, store: BlobStore) -> Prompts:
    """Before the transaction: put the prompts where the children's sandboxes will find them."""
    return {
        CallKey(command.cell, command.subcall, index): (prompt, store.put(prompt.encode()))
        for index, prompt in command.prompts
    }


def open_children(
    changes: SessionTransaction, step: Step, config: SessionConfig, prompts: Prompts
) -> tuple[list[ChildEnded], Exceeded | None]:
    """Open a child for each prompt that has none. Returns what is known of those that have ended already."""
    existing = {CallKey(child.cell, child.subcall, child.index): child for child in step.children.all()}
    missing = {key: value for key, value in prompts.items() if key not in existing}
    refused = refuse_nodes(changes.session, changes.meter, len(missing)) if missing else None
    refused = refused or reserve_nodes(changes.meter, config.limits, len(missing))
    if refused is None and missing:
        _create(changes, step, config, missing)
    return endings((existing[key] for key in prompts if key in existing), changes.store), refused


def endings(children: Iterable[Node], store: BlobStore) -> list[ChildEnded]:
    """What the ended ones of `children` answer."""
    return [_ending(child, store) for child in children if child.status != Node.Status.RUNNING]


def wake_parent(node: Node) -> None:
    """Inside the transaction that ended `node`: make the waiting step of its parent ready when no child is left."""
    if node.parent_step_id is None:
        return
    if Node.objects.filter(parent_step_id=node.parent_step_id, status=Node.Status.RUNNING).exists():
        return
    ready = Step.objects.filter(pk=node.parent_step_id, status=Step.Status.WAITING)
    if ready.update(status=Step.Status.READY):
        uuid = Step.objects.values_list("uuid", flat=True).get(pk=node.parent_step_id)
        send_on_commit(EXECUTE_STEP, [[str(uuid)]])


def _create(changes: SessionTransaction, step: Step, config: SessionConfig, prompts: Prompts) -> None:
    parent = step.node
    number = changes.meter.nodes - len(prompts)
    nodes = []
    for key, (prompt, stored) in prompts.items():
        changes.keep(stored)
        nodes.append(
            Node(
                session_id=parent.session_id,
                number=number,
                parent=parent,
                parent_step=step,
                cell=key.cell,
                subcall=key.subcall,
                index=key.index,
                depth=parent.depth + 1,
                prompt_sha256=stored.sha256,
                prompt_chars=len(prompt),
            )
        )
        changes.emit(
            NodeStarted(
                node=number,
                parent=parent.number,
                depth=parent.depth + 1,
                prompt=prompt,
                model=config.sub_model.model,
                step=step.number,
                cell=key.cell,
                subcall=key.subcall,
                index=key.index,
            )
        )
        number += 1
    Node.objects.bulk_create(nodes)
    steps = Step.objects.bulk_create([Step(session_id=parent.session_id, node=node, number=1) for node in nodes])
    send_on_commit(EXECUTE_STEP, [[str(child.uuid)] for child in steps])


def _ending(child: Node, store: BlobStore) -> ChildEnded:
    key = CallKey(child.cell, child.subcall, child.index)
    if child.answer_sha256:
        return ChildEnded(key, store.text(child.answer_sha256), partial=child.answer_partial)
    reason = child.error_message or {"stopped": "the sub-call was stopped"}.get(child.status, child.status)
    return ChildEnded(key, error=reason)
