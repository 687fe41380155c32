"""A session goes out and comes in elsewhere: the same to look at, to run again, to fork."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runs.access import Actor
from runs.events.read import all_after
from runs.models import LmCall, Node, NodeMessage, Session, Step
from runs.replay.changes import Changes
from runs.replay.forks import fork_session
from runs.replay.reexecution.report import report_from_plain
from runs.replay.reexecution.running import start_reexecution
from runs.services.jobs import run_job
from runs.services.snapshots.reading import require_snapshot, snapshots_of
from runs.services.snapshots.scratch import open_scratch
from tests.runs.replay.archive.archives import export_to, import_into_new_team, make_rich
from tests.runs.services.inline import run_to_end

pytestmark = pytest.mark.django_db(transaction=True)


def lines_of(session: Session) -> list[str]:
    """The log as the page gets it, with the nodes of snapshots for their names, which are new."""
    names = {str(row.uuid): str(row.node_uuid) for row in snapshots_of(session)}
    numbers = {str(node.uuid): node.number for node in Node.objects.filter(session=session)}
    found = []
    for line in all_after(session.pk):
        plain = json.loads(line)
        if "snapshot" in plain:
            plain["snapshot"] = numbers[names[plain["snapshot"]]]
        found.append(json.dumps(plain, sort_keys=True))
    return found


def test_the_imported_session_is_the_same_and_can_do_the_same(tmp_path: Path) -> None:
    source = make_rich()
    path = export_to(tmp_path / "a.tar", source)
    imported = import_into_new_team(path)
    session = imported.session
    assert imported.created
    assert session.team != source.team
    assert (session.status, session.answer, session.question) == (source.status, source.answer, source.question)
    assert lines_of(session) == lines_of(source)
    for model in (Step, NodeMessage, LmCall):
        counts = [model.objects.filter(**_of(model, each)).count() for each in (source, session)]
        assert counts[0] == counts[1] > 0
    assert Node.objects.get(session=session, number=1).parent_step == Step.objects.get(
        node__session=session, node__number=0, number=2
    )
    with open_scratch(require_snapshot(session, 0, 3)) as box:
        assert box.evaluate("double(4), y['x'] is x, open('notes.txt').read()").value == "(8, True, 'kept')"
    with open_scratch(require_snapshot(session, 1, 1)) as box:
        assert box.evaluate("len(words)").value == box.evaluate("len(context.split())").value
    job = start_reexecution(actor=Actor(session.created_by, "test"), session=session)
    run_job(job.uuid)
    job.refresh_from_db()
    report = report_from_plain(job.result)
    assert (report.verdict, report.problems) == ("identical", []), job.error_message
    fork = fork_session(
        actor=Actor(session.created_by, "test"),
        team=session.team,
        source=session,
        node=0,
        step=3,
        changes=Changes(reply="```repl\nanswer['content'] = repr((x, y['twice']))\nanswer['ready'] = True\n```"),
    )
    assert run_to_end(fork).answer == "([1, 2, '605'], 42)"


def _of(model: Any, session: Session) -> dict[str, Any]:
    return {"node__session": session} if model is NodeMessage else {"session": session}
