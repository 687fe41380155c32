"""Re-executions as jobs: started by somebody, done by a worker, one node after the other, from the record alone."""

from __future__ import annotations

from django.db import transaction

from rlmweb.audit.record import record as audit
from rlmweb.teams.policies.enforcing import PolicyRefused, require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.events.tree import Tree
from runs.models import Job, Node, Session
from runs.replay.compare.sides import tree_of
from runs.replay.reexecution.cells import NOTE_ADDRESSES
from runs.replay.reexecution.node import NodeExecution
from runs.replay.reexecution.report import Report, report_from_plain, report_to_plain
from runs.replay.reexecution.starts import Options
from runs.services.config import MAX_SEED
from runs.services.endings import below
from runs.services.jobs import JobRefused, JobRun, job_kind, start_job
from runs.services.policy_facts import facts_of_session

REEXECUTE = "reexecute"
PROBLEM_CHARS = 500


class CannotReexecute(ValueError):
    """The re-execution cannot be started as asked; the message says why."""


def start_reexecution(
    *,
    actor: Actor,
    session: Session,
    node: int | None = None,
    subtree: bool = True,
    after: int = 0,
    upto: int | None = None,
    freeze_time: bool = False,
    seed: int | None = None,
) -> Job:
    """Execute the session again, or one node with or without its subtree, or its steps after `after` up to `upto`.

    What the steps ran with holds for this, too: their clock goes before `freeze_time`, which starts the clocks when the
    session was started; `seed` goes before their seed. Raises `CannotReexecute`, `PolicyRefused`.
    """
    if node is not None and not Node.objects.filter(session=session, number=node).exists():
        raise CannotReexecute(f"The session has no node {node}.")
    if upto is not None and upto <= after:
        raise CannotReexecute("There is no step in the chosen range.")
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise CannotReexecute(f"The seed must be a whole number from 0 to {MAX_SEED}.")
    require(Act.EVALUATE, facts_of_session(session, actor))
    args = {"node": node, "subtree": subtree, "after": after, "upto": upto, "freeze_time": freeze_time, "seed": seed}
    with transaction.atomic():
        job = start_job(REEXECUTE, team=session.team, session=session, actor=actor, args=args)
        audit(
            "session.reexecute",
            actor=actor.name,
            object_type="session",
            object_id=session.uuid,
            team_uuid=session.team.uuid,
            source=actor.source,
            details={"job": str(job.uuid), "node": node, "after": after, "upto": upto},
        )
    return job


@job_kind(REEXECUTE)
def reexecute(run: JobRun) -> None:
    """Goes on behind the nodes that a lost worker had done."""
    session = run.job.session
    assert session is not None
    try:
        require(Act.EVALUATE, facts_of_session(session, Actor(run.job.created_by, "worker")))
    except PolicyRefused as error:
        raise JobRefused(str(error)) from error
    report = report_from_plain(run.job.result) if run.job.result else Report()
    nodes = _nodes(session, run.args)
    options = Options(session.created_at.timestamp() if run.args["freeze_time"] else None, run.args["seed"])
    tree = tree_of(session)
    order = {(node.node, step.step): step.seq for node in tree.nodes.values() for step in node.steps}
    for place, node in enumerate(nodes):
        run.progress(place, len(nodes), f"node {node.number}")
        if node.number not in report.nodes_done:
            _node(run, node, tree, options, report, order)
            run.save_result(report_to_plain(report))
    run.progress(len(nodes), len(nodes))
    run.save_result(report_to_plain(report))


def _node(
    run: JobRun, node: Node, tree: Tree, options: Options, report: Report, order: dict[tuple[int, int], int]
) -> None:
    """The range of steps is one of the node that was asked for; those below it are executed whole."""
    args = run.args
    top = node.number == (args["node"] or 0)
    after, upto = (args["after"], args["upto"]) if top else (0, None)
    execution = NodeExecution(node, tree, options, after=after, upto=upto)
    found = []
    for step in execution.steps():
        run.check()
        found.append(step)
    report.add(found, order)
    report.addresses = report.addresses or any(NOTE_ADDRESSES in step.notes for step in found)
    report.problems += [f"node {node.number}: {problem}"[:PROBLEM_CHARS] for problem in execution.problems]
    report.nodes_done.append(node.number)


def _nodes(session: Session, args: dict[str, object]) -> list[Node]:
    everything = list(Node.objects.filter(session=session).select_related("session__context").order_by("number"))
    if args["node"] is None:
        return everything
    top = next(node for node in everything if node.number == args["node"])
    if not args["subtree"]:
        return [top]
    inside = {node.pk for node in below(top, everything)}
    return [top, *(node for node in everything if node.pk in inside)]
