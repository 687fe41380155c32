"""Forks: what they take over, what they change, and that nobody disturbs anybody."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
from django.db import connection

from runs.access import Actor
from runs.events.fold import fold_line
from runs.events.read import all_after
from runs.events.tree import Tree
from runs.models import Event, LmCall, Node, NodeMessage, Session, Step
from runs.replay.changes import Changes, VariableChange
from runs.replay.forks import CannotFork, fork_session
from runs.replay.origin import origin_of
from runs.services.snapshots.reading import SnapshotExpired, SnapshotMissing, require_snapshot, snapshots_of
from runs.services.snapshots.scratch import open_scratch
from sandboxes.models import Snapshot
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
GIVE = "answer['content'] = repr(x)\nanswer['ready'] = True"


def fork(source: Session, step: int, node: int = 0, **changes: Any) -> Session:
    actor = Actor(source.created_by, "test")
    return fork_session(actor=actor, team=source.team, source=source, node=node, step=step, changes=Changes(**changes))


def test_a_fork_without_changes_goes_on_to_the_same_end() -> None:
    source = run_cells("x = [1, 2]", "x.append(3)", "x.append(4)")
    session = run_to_end(fork(source, 2))
    assert session.status == "finished", session.error_message
    assert session.answer == source.answer
    with open_scratch(require_snapshot(session, 0, 3)) as box:
        assert box.evaluate("x").value == "[1, 2, 3, 4]"
    origin = origin_of(session.origin)
    assert origin is not None
    assert (origin.kind, origin.session, origin.node, origin.step) == ("fork", str(source.uuid), 0, 2)
    assert session.forked_from == source


def test_the_past_is_copied_and_not_counted() -> None:
    source = run_cells("x = llm_query('a')", "y = llm_query('b')", "z = 1")
    session = run_to_end(fork(source, 2))
    steps = Step.objects.filter(node__session=session, node__number=0).order_by("number")
    assert [step.inherited for step in steps] == [True, True, False, False]
    calls = LmCall.objects.filter(session=session)
    assert calls.filter(inherited=True).count() == 4
    assert calls.filter(inherited=False).count() == 2
    session.meter.refresh_from_db()
    assert session.meter.lm_calls == 2
    assert session.meter.steps == 2
    seqs = list(Event.objects.filter(session=session).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1)) == list(range(1, session.meter.last_seq + 1))
    assert [row.step_number for row in snapshots_of(session)] == [1, 2, 3, 4]


def test_a_given_reply_is_taken_and_no_model_is_asked_for_it() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    session = run_to_end(fork(source, 1, reply=f"```repl\nx.append('mine')\n{GIVE}\n```"))
    assert session.answer == "[1, 'mine']"
    assert not LmCall.objects.filter(session=session, inherited=False).exists()
    given = Event.objects.filter(session=session, type="lm.finished").order_by("-seq").first()
    assert given is not None
    assert '"cost_source":"given"' in given.data


def test_variables_are_changed_before_the_fork_goes_on() -> None:
    source = run_cells("x = [1]\nn = 5", "x.append(n)")
    session = run_to_end(
        fork(source, 1, variables=[VariableChange("n", "n * 10")], reply=f"```repl\nx.append(n)\n{GIVE}\n```")
    )
    assert session.answer == "[1, 50]"


def test_a_change_that_raises_ends_the_fork_and_says_so() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    session = run_to_end(fork(source, 1, variables=[VariableChange("x", "1 / 0")]))
    assert (session.status, session.error_type) == ("failed", "ForkChangeFailed")
    assert "ZeroDivisionError" in session.error_message


def test_question_system_prompt_and_messages_are_changed_in_the_copied_conversation() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    position = NodeMessage.objects.filter(node__session=source, role="assistant", step_number=1).get().position
    session = fork(source, 1, question="another question", system_prompt="be brief", messages={position: "edited"})
    rows = list(NodeMessage.objects.filter(node__session=session).order_by("position"))
    assert rows[0].content == "be brief"
    assert rows[position].content == "edited"
    assert session.question == "another question"
    origin = origin_of(session.origin)
    assert origin is not None
    assert [each.what for each in origin.differences] == ["question", "system prompt", f"message {position + 1}"]
    source_rows = NodeMessage.objects.filter(node__session=source).order_by("position")
    assert "be brief" not in [row.content for row in source_rows]


def test_a_fork_from_the_start_begins_anew_with_what_was_changed() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    session = run_to_end(fork(source, 0, reply=f"```repl\nx = 'new'\n{GIVE}\n```"))
    assert session.answer == "'new'"
    assert Event.objects.filter(session=session, type="node.started", node=0).count() == 1


def test_the_fork_of_a_fork_goes_on_from_either() -> None:
    source = run_cells("x = [1]", "x.append(2)", "x.append(3)")
    first = run_to_end(fork(source, 2, reply="```repl\nx.append('first')\n```"))
    second = run_to_end(fork(first, 1, reply=f"```repl\nx.append('second')\n{GIVE}\n```"))
    third = run_to_end(fork(first, 3, reply=f"```repl\nx.append('third')\n{GIVE}\n```"))
    assert second.answer == "[1, 'second']"
    assert third.answer == "[1, 2, 'first', 'third']"


def test_a_child_becomes_the_root_of_its_fork() -> None:
    source = run_cells("x = rlm_query('the text of the child')", "y = 1")
    child = Node.objects.filter(session=source, number=1).first()
    if child is None:
        pytest.skip("the script does not recurse at this depth")
    session = run_to_end(
        fork(source, 0, node=1, reply="```repl\nanswer['content'] = context\nanswer['ready'] = True\n```")
    )
    assert session.answer == "the text of the child"


def test_forks_stand_by_themselves_when_the_source_is_gone() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    session = fork(source, 1, reply=f"```repl\n{GIVE}\n```")
    source.delete()
    session.refresh_from_db()
    assert run_to_end(session).answer == "[1]"
    assert session.forked_from is None


def test_forks_of_one_snapshot_at_once_do_not_disturb_each_other_or_the_parent() -> None:
    source = run_cells("x = [0]\nopen('f.txt', 'w').write('parent')", "x.append(1)")
    code = "x.append({n})\nopen('f.txt', 'w').write('{n}')\nanswer['content'] = repr((x, open('f.txt').read()))"
    sessions = [
        fork(source, 1, reply=f"```repl\n{code.format(n=n)}\nanswer['ready'] = True\n```") for n in range(100, 108)
    ]

    def run(session: Session) -> None:
        run_to_end(session)
        connection.close()

    threads = [Thread(target=run, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for n, session in enumerate(sessions, start=100):
        session.refresh_from_db()
        assert session.answer == repr(([0, n], str(n)))
    with open_scratch(require_snapshot(source, 0, 2)) as box:
        assert box.evaluate("x, open('f.txt').read()").value == "([0, 1], 'parent')"


@pytest.mark.parametrize(
    ("step", "changes", "message"),
    [
        (9, {}, "no step 9"),
        (1, {"variables": [VariableChange("not a name", "1")]}, "not a name"),
        (1, {"variables": [VariableChange("x", "1 +")]}, "not a Python expression"),
        (1, {"messages": {99: "?"}}, "no message 100"),
        (0, {"variables": [VariableChange("x", "1")]}, "there is no state"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(step: int, changes: Any, message: str) -> None:
    source = run_cells("x = [1]")
    with pytest.raises(CannotFork, match=message):
        fork(source, step, **changes)
    assert Session.objects.count() == 1


def test_a_snapshot_that_is_gone_is_named() -> None:
    source = run_cells("x = [1]")
    rows = Snapshot.objects.filter(session_uuid=source.uuid, step_number=1)
    rows.update(collected_at="2026-01-01T00:00:00Z")
    with pytest.raises(SnapshotExpired, match=str(rows.get().uuid)):
        fork(source, 1)
    rows.delete()
    with pytest.raises(SnapshotMissing, match="step 1 of node 0"):
        fork(source, 1)
    assert Session.objects.count() == 1


def test_the_tree_of_a_fork_shows_its_past() -> None:
    source = run_cells("x = [1]", "x.append(2)")
    session = run_to_end(fork(source, 1))
    tree = Tree()
    for line in all_after(session.pk):
        fold_line(tree, line)
    assert [step.step for step in tree.nodes[0].steps] == [1, 2, 3]
    assert tree.forked is not None
    assert (tree.forked.from_session, tree.forked.from_step) == (str(source.uuid), 1)
    assert [step.seq < tree.forked.seq for step in tree.nodes[0].steps] == [True, False, False]
    assert (tree.used.steps, tree.forked.inherited.steps) == (2, 1)
    assert (tree.used.nodes, tree.status) == (1, "finished")
