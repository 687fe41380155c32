"""A session goes out and comes in elsewhere: the same to look at, to run again, to fork."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from threading import Event as ThreadEvent
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from runs.access import Actor, contexts_of
from runs.blobs import blob_store
from runs.events.read import all_after
from runs.models import BlobUse, Context, Event, LmCall, Node, NodeMessage, Session, Step
from runs.replay.archive.errors import CannotExport
from runs.replay.archive.importing import import_archive
from runs.replay.archive.recording import Recording
from runs.replay.changes import Changes, VariableChange
from runs.replay.forks import fork_session
from runs.replay.origin import origin_of
from runs.replay.reexecution.report import report_from_plain
from runs.replay.reexecution.running import start_reexecution
from runs.services.jobs import run_job
from runs.services.sessions import stop_session
from runs.services.snapshots.reading import SnapshotMissing, require_snapshot, snapshots_of
from runs.services.snapshots.scratch import open_scratch
from sandboxes.models import Snapshot
from tests.factories import make_team, make_user
from tests.runs.replay.archive.archives import export_to, import_into_new_team, make_rich, start
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


def test_nothing_but_the_archive_is_needed(tmp_path: Path, settings: Any) -> None:
    """As on another installation: no rows, an empty store."""
    source = make_rich()
    lines = lines_of(source)
    path = export_to(tmp_path / "a.tar", source)
    Session.objects.all().delete()
    Snapshot.objects.all().delete()
    settings.BLOB_DIR = tmp_path / "blobs"
    settings.DATA_DIR = tmp_path
    session = import_into_new_team(path).session
    assert lines_of(session) == lines
    with open_scratch(require_snapshot(session, 0, 4)) as box:
        assert box.evaluate("x, double(1), len(context)").value == "([1, 2, '605'], 2, 8500)"


def test_the_new_session_has_names_of_its_own(tmp_path: Path) -> None:
    source = make_rich()
    session = import_into_new_team(export_to(tmp_path / "a.tar", source)).session
    origin = origin_of(session.origin)
    assert origin is not None
    assert (origin.kind, origin.session, origin.installation) == ("import", str(source.uuid), "there.example")
    assert session.forked_from is None
    for names in (
        lambda each: {node.uuid for node in each.nodes.all()},
        lambda each: {step.uuid for step in Step.objects.filter(session=each)},
        lambda each: {row.uuid for row in snapshots_of(each)},
        lambda each: {each.uuid, each.context.uuid},
    ):
        assert len(names(source)) == len(names(session)) > 0
        assert not names(source) & names(session)
    assert snapshots_of(session).exclude(parent=None).count() == snapshots_of(source).exclude(parent=None).count()
    assert session.created_at == source.created_at
    assert not LmCall.objects.filter(session=session, inherited=False).exists()


def test_the_same_archive_is_imported_once_for_each_team(tmp_path: Path) -> None:
    source = make_rich()
    path = export_to(tmp_path / "a.tar", source)
    first = import_into_new_team(path)
    team, actor = first.session.team, Actor(first.session.created_by, "test")
    second = import_archive(path, actor=actor, team=team)
    assert (second.session, second.created) == (first.session, False)
    assert import_archive(path, actor=actor, team=team, again=True).session != first.session
    assert import_into_new_team(path).created
    # Exported again it is another archive: it may hold more by now.
    assert import_archive(export_to(tmp_path / "b.tar", source), actor=actor, team=team).created


def test_two_imports_at_once_make_one_session(tmp_path: Path) -> None:
    """Both have checked the archive and found no session before either writes one."""
    path = export_to(tmp_path / "a.tar", make_rich())
    team = make_team()
    actor = Actor(make_user(team), "test")
    both, found = Barrier(2), []

    def watch(done: int, total: int, text: str) -> None:
        if done == total - 1:
            both.wait(30)

    def run() -> None:
        found.append(import_archive(path, actor=actor, team=team, watch=watch))
        connection.close()

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(each.created for each in found) == [False, True]
    assert found[0].session == found[1].session
    assert Session.objects.filter(team=team).count() == 1


def test_a_running_session_is_whole_and_arrives_stopped(tmp_path: Path) -> None:
    source = start("x = [1]", "x.append(2)", "import time\ntime.sleep(60)")
    actor = Actor(source.created_by, "test")
    worker = Thread(target=work, args=(source,))
    worker.start()
    wait_for(lambda: Event.objects.filter(session=source, type="cell.started").count() == 3)
    wait_for(lambda: snapshots_of(source).count() == 2)
    path = export_to(tmp_path / "a.tar", source)
    stop_session(source, actor=actor)
    worker.join(60)
    session = import_into_new_team(path).session
    assert (session.status, session.error_type) == ("stopped", "Imported")
    assert "running when the archive was made" in session.error_message
    assert not Step.objects.filter(session=session, status__in=("ready", "running", "waiting")).exists()
    assert not session.nodes.filter(status="running").exists()
    seqs = list(Event.objects.filter(session=session).order_by("seq").values_list("seq", flat=True))
    session.meter.refresh_from_db()
    assert seqs == list(range(1, session.meter.last_seq + 1))
    assert session.meter.lm_calls_reserved == 0
    actor = Actor(session.created_by, "test")
    reply = "```repl\nanswer['content'] = repr(x)\nanswer['ready'] = True\n```"
    fork = fork_session(actor=actor, team=session.team, source=session, node=0, step=2, changes=Changes(reply=reply))
    assert run_to_end(fork).answer == "[1, 2]"


def work(session: Session) -> None:
    run_to_end(session)
    connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline, never = time.monotonic() + 60, ThreadEvent()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        never.wait(0.02)


def test_without_snapshots_or_context_it_is_there_to_read(tmp_path: Path) -> None:
    source = make_rich()
    for options in ({"snapshots": False}, {"context": False}):
        session = import_into_new_team(export_to(tmp_path / "a.tar", source, **options)).session
        assert (session.answer, snapshots_of(session).count()) == (source.answer, 0)
        kinds = Event.objects.filter(session=session).values_list("type", flat=True)
        assert kinds.filter(type="snapshot.failed").count() == snapshots_of(source).count()
        assert not kinds.filter(type="snapshot.taken").exists()
        with pytest.raises(SnapshotMissing):
            fork_session(
                actor=Actor(session.created_by, "test"),
                team=session.team,
                source=session,
                node=0,
                step=1,
                changes=Changes(),
            )
    assert session.context.sha256 == ""
    assert session.created_by is not None
    assert not contexts_of(session.created_by).exists()
    actor = Actor(session.created_by, "test")
    anew = fork_session(actor=actor, team=session.team, source=session, node=0, step=0, changes=Changes())
    assert "without its context" in run_to_end(anew).error_message


def test_an_archive_is_what_is_still_there(tmp_path: Path) -> None:
    """A snapshot whose contents were lost is left out; any other content that is lost ends the export."""
    source = make_rich()
    row = snapshots_of(source, 0).get(step_number=2)
    blob_store().delete(row.manifest_sha256)
    snapshots_of(source, 0).filter(step_number=1).update(collected_at="2026-01-01T00:00:00Z")
    session = import_into_new_team(export_to(tmp_path / "a.tar", source)).session
    assert [each.step_number for each in snapshots_of(session, 0)] == [3, 4, 5]
    blob_store().delete(Node.objects.get(session=source, number=1).prompt_sha256)
    with pytest.raises(CannotExport, match="cannot be read"):
        export_to(tmp_path / "b.tar", source)


def test_keys_do_not_leave_the_installation(tmp_path: Path) -> None:
    source = make_rich()
    endpoint = "https://ada:secret-1@models.example/v1?key=secret-2"
    extra = {"apiKey": "secret-3", "nested": [{"auth_token": "secret-4"}], "max_tokens": 5}
    root = {"api": "openai", "model": "m", "base_url": endpoint, "credential": str(uuid4()), "extra": extra}
    source.config = {**source.config, "root": root}
    source.save()
    path = export_to(tmp_path / "a.tar", source)
    assert b"secret" not in path.read_bytes()
    session = import_into_new_team(path).session
    model = session.config["root"]
    assert (model["base_url"], model.get("credential", "")) == ("https://models.example/v1", "")
    assert model["extra"] == {"nested": [{}], "max_tokens": 5}


def test_a_failed_import_leaves_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export_to(tmp_path / "a.tar", make_rich())
    models = (Session, Node, Step, NodeMessage, LmCall, Event, Snapshot, BlobUse, Context)
    before = [model.objects.count() for model in models]
    monkeypatch.setattr(Recording, "_record_events", _fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        import_into_new_team(path)
    assert [model.objects.count() for model in models] == before


def _fail(recording: Recording, session: Session) -> None:
    raise RuntimeError("in the middle")


def test_an_imported_fork_is_executed_again_with_what_the_fork_changed(tmp_path: Path) -> None:
    source = make_rich()
    actor = Actor(source.created_by, "test")
    changes = Changes(
        variables=[VariableChange("x", "[7]")],
        reply="```repl\nprint(x)\nanswer['content'] = repr(x)\nanswer['ready'] = True\n```",
    )
    fork = run_to_end(fork_session(actor=actor, team=source.team, source=source, node=0, step=1, changes=changes))
    session = import_into_new_team(export_to(tmp_path / "a.tar", fork)).session
    assert session.answer == fork.answer == "[7]"
    job = start_reexecution(actor=Actor(session.created_by, "test"), session=session)
    run_job(job.uuid)
    job.refresh_from_db()
    assert report_from_plain(job.result).verdict == "identical", job.result
