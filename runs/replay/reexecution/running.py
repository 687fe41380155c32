"""Re-executions as jobs: started by somebody, done by a worker, one node after the other, from the record alone."""

from __future__ import annotations

from runs.access import Actor
from runs.models import Job, Node, Session
from runs.replay.compare.sides import tree_of
from runs.replay.reexecution.node import NodeExecution, Options
from runs.replay.reexecution.report import MAX_STEPS, Report, report_from_plain, report_to_plain
from runs.services.endings import below
from runs.services.jobs import JobRun, job_kind, start_job
from sandboxes.errors import SandboxError

REEXECUTE = "reexecute"


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

    `freeze_time` starts the clocks when the session was started. Raises `CannotReexecute`.
    """
    if node is not None and not Node.objects.filter(session=session, number=node).exists():
        raise CannotReexecute(f"The session has no node {node}.")
    if upto is not None and upto <= after:
        raise CannotReexecute("There is no step in the chosen range.")
    if seed is not None and not 0 <= seed < 2**63:
        raise CannotReexecute("The seed must be a whole number that is not negative.")
    args = {"node": node, "subtree": subtree, "after": after, "upto": upto, "freeze_time": freeze_time, "seed": seed}
    return start_job(REEXECUTE, team=session.team, session=session, actor=actor, args=args)


@job_kind(REEXECUTE)
def reexecute(run: JobRun) -> None:
    """Goes on behind the nodes that a lost worker had done."""
    session = run.job.session
    assert session is not None
    report = report_from_plain(run.job.result) if run.job.result else Report()
    done = {step.node for step in report.steps}
    nodes = _nodes(session, run.args)
    options = Options(
        session.created_at.timestamp() if run.args["freeze_time"] else None,
        run.args["seed"],
    )
    tree = tree_of(session)
    for place, node in enumerate(nodes):
        run.progress(place, len(nodes), f"node {node.number}")
        if node.number in done:
            continue
        top = node.number == run.args["node"] or len(nodes) == 1
        execution = NodeExecution(
            node, tree, options, after=run.args["after"] if top else 0, upto=run.args["upto"] if top else None
        )
        found = []
        try:
            for step in execution.steps():
                run.check()
                found.append(step)
        except SandboxError as error:
            report.problems.append(f"node {node.number}: {error}"[:500])
        report.steps += found[: max(0, MAX_STEPS - len(report.steps))]
        report.addresses = report.addresses or execution.addresses
        run.save_result(report_to_plain(report))
    run.progress(len(nodes), len(nodes))
    run.save_result(report_to_plain(report))


def _nodes(session: Session, args: dict[str, object]) -> list[Node]:
    everything = list(Node.objects.filter(session=session).select_related("session__context").order_by("number"))
    if args["node"] is None:
        return everything
    top = next(node for node in everything if node.number == args["node"])
    if not args["subtree"]:
        return [top]
    inside = {node.pk for node in below(top, everything)}
    return [top, *(node for node in everything if node.pk in inside)]
