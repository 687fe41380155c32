"""How nodes and sessions end: with an answer, by a limit, by an error, or because somebody stopped them.

Every function here runs inside a `session_transaction`. Whatever ends a node also ends what is still running below it,
and taking the lease tokens away is what stops the workers: their next commit fails at the fence.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from rlmweb.quotas.models import Waiting
from runs.engine.io import EndNode
from runs.events.types import ErrorInfo, LmFailed, NodeFinished, NodeSandbox, SessionFinished, StepFinished
from runs.models import LmCall, Node, Step
from runs.services.children import wake_parent
from runs.services.journal import reservation_of
from runs.services.limits import release_call
from runs.services.quota_calls import settle
from runs.services.snapshots.accounting import close_books
from runs.services.transaction import SessionTransaction
from runs.text import scrub
from sandboxes import services as sandbox_services
from sandboxes.models import SandboxRecord

ABANDONED = ErrorInfo("Abandoned", "the call was out when its node ended; what it cost is not known")
ANSWER_ROW_CHARS = 10_000
"""How much of the answer the session's row holds."""


def end_node(changes: SessionTransaction, node: Node, end: EndNode) -> None:
    """End `node` as the engine decided; the last one ends the session."""
    stop_below(changes, node)
    _abandon_calls(changes, [node])
    _close_node(changes, node, end.status, end.answer, end.partial, end.error)
    if end.limit is not None and node.parent_id is not None:
        end_session_early(changes, Node.Status.LIMITED, end.error)
    elif node.parent_id is None:
        _close_session(changes, end.status, end.answer, end.partial, end.error)
    else:
        wake_parent(node)


def end_session_early(changes: SessionTransaction, status: str, error: ErrorInfo | None) -> None:
    """End the whole tree; the root's best answer so far is the partial answer."""
    root = Node.objects.get(session=changes.session, number=0)
    if root.status != Node.Status.RUNNING:
        return
    stop_below(changes, root)
    stop_nodes(changes, [root], status, error)
    partial = partial_of(root)
    _close_session(changes, status, partial or None, bool(partial), error)


def stop_below(changes: SessionTransaction, node: Node) -> None:
    """Stop every running descendant of `node`."""
    running = list(Node.objects.filter(session_id=node.session_id, status=Node.Status.RUNNING))
    stop_nodes(changes, below(node, running), Node.Status.STOPPED, None)


def below(node: Node, candidates: Iterable[Node]) -> list[Node]:
    """Those of `candidates` that descend from `node`, deepest first. A running node's ancestors are all running."""
    parents = {candidate.pk: candidate.parent_id for candidate in candidates}
    found = []
    for candidate in candidates:
        ancestor = candidate.parent_id
        while ancestor is not None and ancestor != node.pk:
            ancestor = parents.get(ancestor)
        if ancestor == node.pk:
            found.append(candidate)
    return sorted(found, key=lambda child: (-child.depth, child.number))


def stop_nodes(changes: SessionTransaction, nodes: list[Node], status: str, error: ErrorInfo | None) -> None:
    """End `nodes` with their unfinished steps and calls."""
    if not nodes:
        return
    unfinished = (Step.Status.READY, Step.Status.RUNNING, Step.Status.WAITING)
    steps = list(Step.objects.filter(node__in=nodes, status__in=unfinished).select_related("node"))
    _abandon_calls(changes, nodes)
    for step in steps:
        changes.emit(StepFinished(node=step.node.number, step=step.number, status=status, error=error))
    Step.objects.filter(pk__in=[step.pk for step in steps]).update(
        status=status, lease_token=None, lease_expires_at=None, finished_at=timezone.now()
    )
    for node in nodes:
        partial = partial_of(node)
        _close_node(changes, node, status, partial or None, bool(partial), error)


def sandbox_ms(node: Node) -> tuple[int, int]:
    """How long the node's present sandbox has been running, and that for each of its GPUs together."""
    record = SandboxRecord.objects.filter(ref=node.sandbox_ref).first() if node.sandbox_ref else None
    if record is None:
        return 0, 0
    ms = int((timezone.now() - record.created_at).total_seconds() * 1000)
    return ms, ms * record.gpu_count


def partial_of(node: Node) -> str:
    """The best answer of a node that ends without one; a root's latest words will do, for people (`runs.engine.answers`)."""
    last_words = node.state.get("last_words", "") if node.parent_id is None else ""
    return str(node.state.get("partial") or last_words)


def _close_node(
    changes: SessionTransaction,
    node: Node,
    status: str,
    answer: str | None,
    partial: bool,
    error: ErrorInfo | None,
) -> None:
    close_books(changes, node, status)
    if node.sandbox_ref:
        ms, gpu_ms = sandbox_ms(node)
        changes.meter.sandbox_ms += ms
        changes.meter.gpu_ms += gpu_ms
        changes.emit(NodeSandbox(node=node.number, state="ended", sandbox=str(node.sandbox_uuid)))
        ref = node.sandbox_ref
        sandbox_services.mark_ended([ref])
        transaction.on_commit(lambda: sandbox_services.terminate_soon([ref]))
    changes.emit(NodeFinished(node=node.number, status=status, answer=answer, partial=partial, error=error))
    if answer is not None:
        answer = scrub(answer)
        stored = changes.store.put(answer.encode())
        changes.keep(stored)
        node.answer_sha256 = stored.sha256
    node.status = status
    node.answer_partial = partial
    node.error_type, node.error_message = (error.type, error.message) if error else ("", "")
    node.finished_at = timezone.now()
    node.save()


def _close_session(
    changes: SessionTransaction, status: str, answer: str | None, partial: bool, error: ErrorInfo | None
) -> None:
    session = changes.session
    changes.emit(SessionFinished(status=status, answer=answer, partial=partial, error=error))
    session.status = status
    session.answer = scrub(answer[:ANSWER_ROW_CHARS]) if answer is not None else None
    session.answer_partial = partial
    session.error_type, session.error_message = (error.type, error.message) if error else ("", "")
    session.finished_at = timezone.now()
    session.save(update_fields=["status", "answer", "answer_partial", "error_type", "error_message", "finished_at"])
    Waiting.objects.filter(session_uuid=session.uuid).delete()


def _abandon_calls(changes: SessionTransaction, nodes: list[Node]) -> None:
    """Calls that are out when their node ends: what they cost is not known, and their reservation is undone."""
    calls = LmCall.objects.filter(step__node__in=nodes, status=LmCall.Status.STARTED).select_related("step__node")
    for row in calls:
        release_call(changes.meter, reservation_of(row))
        settle(changes, row)
        changes.meter.lm_calls += 1
        changes.emit(LmFailed(node=row.step.node.number, call=row.number, error=ABANDONED))
    calls.update(
        status=LmCall.Status.ABANDONED,
        error_type=ABANDONED.type,
        error_message=ABANDONED.message,
        finished_at=timezone.now(),
    )
