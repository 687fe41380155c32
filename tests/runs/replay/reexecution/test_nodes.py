"""Re-executions of sessions with several nodes: each is compared with its own record, and none is executed twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runs.access import Actor
from runs.engine.limits import Limits
from runs.models import Event, Job, Session
from runs.replay.reexecution import running
from runs.replay.reexecution.node import NodeExecution
from runs.replay.reexecution.running import start_reexecution
from runs.services.jobs import run_job
from runs.services.sessions import start_session
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.replay.reexecution.test_reexecution import reexecute
from tests.runs.services.inline import run_to_end

pytestmark = pytest.mark.django_db(transaction=True)
ANSWER = "answer['content'] = {}\nanswer['ready'] = True"
CHILD = ("words = context.split()\nprint(len(words))", "print(words[0])\n" + ANSWER.format("words[-1]"))
ROOT = (
    "x = 1\nprint(x)",
    "replies = rlm_query_batched(['one two', 'three four'])\nprint(replies)",
    ANSWER.format("'done'"),
)


@pytest.fixture
def session() -> Session:
    """The root asks two children in its second step."""
    rules = [
        {"when": {"kind": "turn", "depth": depth, "step": step}, "reply": f"```repl\n{cell}\n```"}
        for depth, cells in ((0, ROOT), (1, CHILD))
        for step, cell in enumerate(cells, start=1)
    ]
    team = make_team()
    started = start_session(
        actor=Actor(make_user(team), "test"),
        team=team,
        question="?",
        context=make_context(team, "text"),
        config=scripted_config({"rules": rules, "default": {"reply": "?"}}, limits=Limits(max_depth=2)),
    )
    return run_to_end(started)


def plant(session: Session, node: int, step: int) -> None:
    rows = Event.objects.filter(session=session, type="cell.output", node=node)
    [row] = [row for row in rows if json.loads(row.data)["step"] == step]
    row.data = row.data.replace('"text":"', '"text":"planted ')
    row.save()


def places(result: dict[str, Any]) -> list[tuple[int, int]]:
    return [(step["node"], step["step"]) for step in result["steps"]]


def test_all_nodes_are_identical_and_stand_in_the_order_in_which_they_began(session: Session) -> None:
    result = reexecute(session)
    assert result["verdict"] == "identical", result["first"]
    assert sorted(places(result)) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert places(result)[:2] == [(0, 1), (0, 2)]
    assert places(result)[-1] == (0, 3)
    assert result["nodes_done"] == [0, 1, 2]


@pytest.mark.parametrize(("node", "step"), [(1, 1), (2, 2), (0, 2)])
def test_a_difference_is_found_in_the_node_that_has_it(session: Session, node: int, step: int) -> None:
    plant(session, node, step)
    result = reexecute(session)
    assert (result["first"]["node"], result["first"]["step"]) == (node, step)
    assert result["diverged"] == 1


def test_of_several_differences_the_one_that_began_first_is_named(session: Session) -> None:
    plant(session, 2, 1)
    plant(session, 0, 2)
    result = reexecute(session)
    assert (result["first"]["node"], result["first"]["step"]) == (0, 2)
    assert [place for place, step in zip(places(result), result["steps"], strict=True) if step.get("findings")] == [
        (0, 2),
        (2, 1),
    ]


def test_a_subtree_alone(session: Session) -> None:
    plant(session, 1, 1)
    assert places(reexecute(session, node=2)) == [(2, 1), (2, 2)]
    assert places(reexecute(session, node=0, subtree=False)) == [(0, 1), (0, 2), (0, 3)]
    assert reexecute(session, node=1)["verdict"] == "diverged"


def test_another_worker_goes_on_behind_the_nodes_that_are_done(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[int] = []

    class WorkerDied(BaseException):
        pass

    class Dying(NodeExecution):
        def steps(self) -> Any:
            executed.append(self.node.number)
            if executed == [0, 1]:
                raise WorkerDied
            return super().steps()

    monkeypatch.setattr(running, "NodeExecution", Dying)
    job = start_reexecution(actor=Actor(None, "test"), session=session)
    with pytest.raises(WorkerDied):
        run_job(job.uuid)
    Job.objects.filter(pk=job.pk).update(status=Job.Status.READY, lease_token=None)
    run_job(job.uuid)
    job.refresh_from_db()
    assert executed == [0, 1, 1, 2]
    assert (job.status, job.result["verdict"], job.result["executed"]) == ("finished", "identical", 7)
