"""Evaluate, compare and download in the states of sessions that ran, in real scratch sandboxes."""

from __future__ import annotations

import json
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from rlmweb.audit.models import AuditEntry
from rlmweb.bench.outside import wait_until
from runs.access import Actor
from runs.models import Event, Session
from runs.replay.inspect.differences import difference
from runs.replay.inspect.downloads import Download, download
from runs.replay.inspect.errors import CannotExport
from runs.replay.inspect.evaluation import Result, evaluate
from runs.replay.inspect.states import StepState, usable_state, variable_timeline
from runs.services.sessions import start_session, stop_session
from runs.services.snapshots.reading import SnapshotError, snapshots_of
from sandboxes.models import SandboxRecord
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells
from tests.stored import blob_file

pytestmark = pytest.mark.django_db(transaction=True)
CELLS = (
    "rows = [{'name': 'a', 'n': 1}, {'name': 'b', 'n': 2}]\nlist = 'shadowed'\n"
    "text = 'one\\ntwo\\nthree'\nblob = b'\\x00\\xff'",
    "rows[1]['n'] = 5\nrows.append({'name': 'c', 'n': 3})\ntext = text.replace('two', '2')",
    "del blob\nimport threading\nlock = threading.Lock()\nheld = lock.acquire()",
)


@pytest.fixture
def session() -> Session:
    return run_cells(*CELLS)


def actor_of(session: Session) -> Actor:
    return Actor(make_user(session.team), "test")


def ask(session: Session, step: int, code: str, **options: Any) -> Result:
    return evaluate(usable_state(session, 0, step), code, actor=actor_of(session), **options)


def fetched(found: Download) -> bytes:
    return b"".join(found.chunks())


def test_an_expression_has_the_value_that_it_had_then(session: Session) -> None:
    assert ask(session, 1, "rows[1]['n'], len(context)").evaluation.value == "(2, 8500)"
    said = ask(session, 2, "print('total')\nsum(row['n'] for row in rows)")
    assert (said.evaluation.value, said.evaluation.output, said.way) == ("9", "total\n", "scratch")
    assert said.to_plain()["error"] is None
    failed = ask(session, 3, "blob").to_plain()
    assert failed["status"] == "error"
    assert "NameError" in json.dumps(failed["error"])


def test_evaluating_leaves_the_session_and_the_next_evaluation_alone(session: Session) -> None:
    events = Event.objects.filter(session=session).count()
    assert ask(session, 2, "rows.clear()\nx = open('left.txt', 'w').write('x')\nlen(rows)").evaluation.value == "0"
    assert ask(session, 2, "import os\nlen(rows), os.path.exists('left.txt')").evaluation.value == "(3, False)"
    assert Event.objects.filter(session=session).count() == events
    assert not SandboxRecord.objects.filter(state=SandboxRecord.State.RUNNING).exists()


def test_code_that_does_not_end_is_stopped_and_output_is_bounded(session: Session) -> None:
    assert ask(session, 1, "while True: pass", timeout_s=0.5).evaluation.status == "timeout"
    said = ask(session, 1, "print('x' * 1_000_000)").evaluation
    assert len(said.output) == 100_000
    assert said.output_bytes > 1_000_000


def test_an_evaluation_is_in_the_audit_log_without_its_text(session: Session) -> None:
    ask(session, 1, "'secret word'")
    entry = AuditEntry.objects.get(action="snapshot.evaluate")
    assert entry.details["step"] == 1
    assert entry.details["status"] == "ok"
    assert "secret" not in json.dumps(entry.details)


def test_a_difference_names_what_changed(session: Session) -> None:
    state = usable_state(session, 0, 2)
    entries = difference(state, "rows", actor=actor_of(session)).entries
    assert [(each.path, each.what, each.before, each.after) for each in entries] == [
        ("[1]['n']", "changed", "2", "5"),
        ("[2]", "added", None, "{'name': 'c', 'n': 3}"),
        ("", "length", "2", "3"),
    ]
    entries = difference(state, "text", actor=actor_of(session)).entries
    assert entries[0].lines == ["@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"]
    assert AuditEntry.objects.filter(action="variable.compare").count() == 2


def test_a_change_deep_in_a_long_text_is_found() -> None:
    made = "big = ''.join(f'line {n}\\n' for n in range(200_000))"
    session = run_cells(made, "big = big.replace('line 150000\\n', 'line 150000\\nplanted\\n')")
    found = difference(usable_state(session, 0, 2), "big", actor=actor_of(session))
    texts = [entry for entry in found.entries if entry.what == "text"]
    assert [line for line in texts[0].lines if line[0] in "+-"] == ["+planted"]
    assert texts[0].path.startswith("[")
    assert len(found.entries) == 2


def test_variables_are_downloaded_as_they_were(session: Session) -> None:
    state = usable_state(session, 0, 1)
    found = download(state, "rows", "json", actor=actor_of(session))
    assert (found.filename, found.content_type) == ("rows-node0-step1.json", "application/json")
    assert json.loads(fetched(found)) == [{"name": "a", "n": 1}, {"name": "b", "n": 2}]
    assert fetched(download(state, "rows", "csv", actor=actor_of(session))) == b"name,n\r\na,1\r\nb,2\r\n"
    assert fetched(download(state, "text", "raw", actor=actor_of(session))) == b"one\ntwo\nthree"
    found = download(state, "blob", "raw", actor=actor_of(session))
    assert (fetched(found), found.filename) == (b"\x00\xff", "blob-node0-step1.bin")
    assert len(fetched(download(state, "context", "raw", actor=actor_of(session)))) == 8500
    entry = AuditEntry.objects.filter(action="variable.download").first()
    assert entry is not None
    assert entry.details["name"] == "context"


def test_a_package_that_the_sandbox_lacks_is_named_with_the_way_to_it(session: Session) -> None:
    state = usable_state(session, 0, 1)
    with pytest.raises(CannotExport, match=r"pyarrow.*RLMWEB_SANDBOX_PYTHON"):
        download(state, "rows", "parquet", actor=actor_of(session))
    with pytest.raises(CannotExport, match="of type bytes, which JSON"):
        download(state, "blob", "json", actor=actor_of(session))


def test_what_is_not_held_has_a_reason_and_the_timeline_says_each_step(session: Session) -> None:
    state: StepState = usable_state(session, 0, 3)
    lock = next(row for row in state.rows if row.name == "lock")
    assert not lock.held
    assert lock.reason
    points = {point.step: point.state for point in variable_timeline(session, 0, "rows")}
    assert points == {1: "added", 2: "changed", 3: "same", 4: "same"}
    points = {point.step: point.state for point in variable_timeline(session, 0, "blob")}
    assert points == {1: "added", 2: "same", 3: "deleted", 4: "absent"}


def test_a_content_that_is_lost_is_an_error_and_no_value(session: Session) -> None:
    state = usable_state(session, 0, 2)
    assert state.manifest is not None
    piece = next(piece for piece in state.manifest.pieces if "rows" in piece.names)
    blob_file(piece.blob).unlink()
    assert state.snapshot is not None
    with pytest.raises(SnapshotError, match=str(state.snapshot.uuid)):
        ask(session, 2, "rows")


def test_a_session_that_runs_is_asked_in_a_copy_of_its_own_sandbox() -> None:
    team = make_team()
    actor = Actor(make_user(team), "test")
    replies = ["```repl\nx = [1, 2]\n```", "```repl\nx.append(3)\nFINAL(str(x))\n```"]
    rules = [
        {"when": {"kind": "turn", "step": step}, "reply": reply, "latency_ms": 3_600_000 * (step - 1)}
        for step, reply in enumerate(replies, 1)
    ]
    config = scripted_config({"rules": rules, "default": {"reply": "?"}})
    context = make_context(team)
    session = start_session(actor=actor, team=team, question="?", context=context, config=config)

    def work() -> None:
        try:
            run_to_end(session)
        finally:
            connection.close()

    worker = Thread(target=work)
    worker.start()
    try:
        wait_until("the snapshot of step 1", lambda: snapshots_of(session, 0).filter(step_number=1).exists(), 30)
        said = ask(session, 1, "x.append('mine')\nx")
        assert (said.evaluation.value, said.way) == ("[1, 2, 'mine']", "live")
        again = ask(session, 1, "x, open('left.txt', 'w')")
        assert (again.evaluation.status, again.way) == ("error", "live")
        assert ask(session, 1, "x").evaluation.value == "[1, 2]"
        assert [row.name for row in usable_state(session, 0, 1).rows if row.name == "x"] == ["x"]
        found = download(usable_state(session, 0, 1), "x", "json", actor=actor)
        assert json.loads(fetched(found)) == [1, 2]
    finally:
        stop_session(session, actor=actor)
        worker.join(30)
    assert not worker.is_alive()
