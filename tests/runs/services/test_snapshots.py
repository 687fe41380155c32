"""Snapshots of sessions: taken after every step, complete, looked into, restored."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from rlmweb.teams.models import Team
from runs.access import Actor
from runs.blobs import blob_store
from runs.events.types import SnapshotFailed, SnapshotTaken, decode_event
from runs.models import Event, Session
from runs.services.sessions import start_session
from runs.services.snapshots.passing import passing_file
from runs.services.snapshots.reading import manifest_of, snapshot_of, snapshots_of
from runs.services.snapshots.scratch import ScratchAnswer, open_fresh, open_scratch
from sandboxes.manifest import decode_manifest
from sandboxes.models import SandboxRecord
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "alpha\nbeta\ngamma\n" * 500


def run_cells(*cells: str, text: str = TEXT, team: Team | None = None, **options: Any) -> Session:
    """A finished session whose root ran one cell a step; the last step gives the answer."""
    replies = [f"```repl\n{cell}\n```" for cell in cells]
    replies.append("```repl\nanswer['content'] = 'done'\nanswer['ready'] = True\n```")
    rules = [
        {"when": {"kind": "turn", "depth": 0, "step": number}, "reply": reply}
        for number, reply in enumerate(replies, start=1)
    ]
    team = team or make_team()
    session = start_session(
        actor=Actor(make_user(team), "test"),
        team=team,
        question="?",
        context=make_context(team, text),
        config=scripted_config({"rules": rules, "default": {"reply": "FOUND"}}, **options),
    )
    return run_to_end(session)


def events_of(session: Session, kind: type) -> list[Any]:
    found = [decode_event(row.data) for row in Event.objects.filter(session=session).order_by("seq")]
    return [event for event in found if isinstance(event, kind)]


def test_every_step_of_every_node_has_a_snapshot_with_what_changed() -> None:
    session = run_cells("x = [1, 2]", "y = {'x': x}", "x.append(3)\ndel y")
    assert session.answer == "done"
    assert events_of(session, SnapshotFailed) == []
    taken = events_of(session, SnapshotTaken)
    assert [event.step for event in taken] == [1, 2, 3, 4]
    assert "x" in taken[0].changed
    assert "y" in taken[1].changed
    assert {"x", "-y"} <= set(taken[2].changed)
    assert "x" not in taken[3].changed
    rows = list(snapshots_of(session, 0))
    assert [(row.step_number, str(row.uuid)) for row in rows] == [(event.step, event.snapshot) for event in taken]
    assert [row.parent for row in rows] == [None, *rows[:-1]]


def test_the_state_of_any_step_can_be_asked_and_stays_as_it_was() -> None:
    session = run_cells("x = [1, 2]\nname = 'first'", "x.append(3)\nname = 'second'")
    first, second = snapshot_of(session, 0, 1), snapshot_of(session, 0, 2)
    assert first is not None
    assert second is not None
    with open_scratch(first) as box:
        assert box.evaluate("x, name, len(context)").value == f"([1, 2], 'first', {len(TEXT)})"
        assert box.evaluate("x.append('scratch')").status == "ok"
    with open_scratch(first) as box, open_scratch(second) as other:
        assert box.evaluate("x").value == "[1, 2]"
        assert other.evaluate("x, name").value == "([1, 2, 3], 'second')"
        failed = other.evaluate("print('before')\n1 / 0")
    assert (failed.status, failed.output) == ("error", "before\n")
    assert failed.error is not None
    assert failed.error.type == "ZeroDivisionError"
    assert not SandboxRecord.objects.filter(state=SandboxRecord.State.RUNNING).exists()


def test_an_evaluation_asks_no_model() -> None:
    session = run_cells("x = 1")
    snapshot = snapshot_of(session, 0, 1)
    assert snapshot is not None
    with open_scratch(snapshot) as box:
        assert "no model is asked" in str(box.evaluate("llm_query('hello')").value)


def test_a_cell_runs_again_with_given_answers_and_gives_the_same_state() -> None:
    session = run_cells("x = [1, 2]", "reply = llm_query('what?')\nx.append(reply)\nprint(x)")
    first, second = snapshot_of(session, 0, 1), snapshot_of(session, 0, 2)
    assert first is not None
    assert second is not None
    code = "reply = llm_query('what?')\nx.append(reply)\nprint(x)"
    with open_scratch(first) as box:
        outcome = box.run_cell(code, timeout_s=20, answer=lambda frame, index, prompt: ScratchAnswer(text="FOUND"))
        state = box.state()
    assert outcome.stdout == "[1, 2, 'FOUND']\n"
    assert [prompts for _, prompts in outcome.calls] == [["what?"]]
    recorded = {each.name: each.digest for each in manifest_of(second).variables}
    assert {each.name: each.digest for each in state.variables} == recorded


def test_a_fresh_box_has_the_context_and_nothing_else() -> None:
    session = run_cells("x = 1")
    with open_fresh(session.nodes.get(number=0)) as box:
        assert box.evaluate("'x' in globals(), len(context)").value == f"(False, {len(TEXT)})"


def test_what_cannot_be_held_is_listed_and_fails_nothing() -> None:
    session = run_cells("import threading\nlock = threading.Lock()\nlock.acquire()\nkept = 5", "kept += 1")
    assert session.answer == "done"
    taken = events_of(session, SnapshotTaken)
    assert "lock" in taken[0].dropped
    snapshot = snapshot_of(session, 0, 2)
    assert snapshot is not None
    assert next(each for each in snapshot.dropped if each["name"] == "lock")["reason"]
    with open_scratch(snapshot) as box:
        assert box.evaluate("kept").value == "6"


def test_files_of_the_workspace_are_part_of_the_state() -> None:
    session = run_cells(
        "import os\nos.makedirs('notes')\nopen('notes/a.txt', 'w').write('one')",
        "open('notes/a.txt', 'a').write('two')",
    )
    first, second = snapshot_of(session, 0, 1), snapshot_of(session, 0, 2)
    assert first is not None
    assert second is not None
    with open_scratch(first) as box, open_scratch(second) as other:
        assert box.evaluate("open('notes/a.txt').read()").value == "'one'"
        assert other.evaluate("open('notes/a.txt').read()").value == "'onetwo'"


def test_a_manifest_may_not_name_contents_that_its_session_did_not_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if code had taken its runner over: it claims that a content of somebody else belongs to its state."""
    secret = blob_store().put(b"a text of another team")

    def forged(text: str) -> Any:
        manifest = decode_manifest(text)
        return type(manifest)(
            python=manifest.python, variables=manifest.variables, pieces=manifest.pieces, state=secret.sha256
        )

    monkeypatch.setattr("runs.services.snapshots.taking.decode_manifest", forged)
    session = run_cells("x = 1")
    failed = events_of(session, SnapshotFailed)
    assert [event.step for event in failed] == [1, 2]
    assert secret.sha256 in failed[0].reason
    assert not snapshots_of(session).exists()


def test_files_that_a_dead_worker_left_on_their_way_are_removed(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    folder = tmp_path / "passing"
    folder.mkdir()
    for name, age_s in (("old", 7200), ("new", 60)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age_s,) * 2)
    with passing_file() as path:
        assert {each.name for each in folder.iterdir()} == {"new", path.name}
    assert {each.name for each in folder.iterdir()} == {"new"}
