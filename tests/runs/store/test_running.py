"""Collections on record: asked for once a day, done once, their reports kept; and the command."""

from __future__ import annotations

import io
import json
import os
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from runs.access import Actor
from runs.blobs import blob_store
from runs.models import OutboxMessage, StoreRun
from runs.services.snapshots.reading import snapshots_of
from runs.store import running
from runs.store.policy import policy_of_installation
from runs.store.report import report_from_plain
from runs.store.running import COLLECT_GARBAGE, ask_for_run, collect_daily, do_run
from tests.runs.services.test_snapshots import run_cells
from tests.stored import blob_file

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor(None, "test")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tasks for workers, which nobody does here."""
    tasks: list[str] = []
    monkeypatch.setattr(running, "send_on_commit", lambda task, args: tasks.extend([task] * len(list(args))))
    return tasks


def test_the_clock_asks_once_a_day(sent: list[str]) -> None:
    collect_daily()
    collect_daily()
    assert sent == [COLLECT_GARBAGE]
    run = StoreRun.objects.get()
    assert (run.dry_run, run.source) == (False, "worker")
    do_run(run.uuid)
    StoreRun.objects.update(created_at=timezone.now() - timedelta(days=2))
    collect_daily()
    assert StoreRun.objects.count() == 2


def test_a_run_whose_wake_up_was_lost_is_sent_again(sent: list[str]) -> None:
    ask_for_run(policy_of_installation(), dry_run=True, actor=ACTOR)
    StoreRun.objects.update(created_at=timezone.now() - timedelta(minutes=10))
    collect_daily()
    assert sent == [COLLECT_GARBAGE] * 3  # asked for, the one of the day, and the lost one again


def test_a_run_is_done_once_and_its_report_kept(sent: list[str]) -> None:
    unused = blob_store().put(b"unused").sha256
    age(unused)
    run = ask_for_run(policy_of_installation(), dry_run=False, actor=ACTOR)
    do_run(run.uuid)
    do_run(run.uuid)
    run.refresh_from_db()
    assert run.status == StoreRun.Status.FINISHED
    assert report_from_plain(run.report).freed.count == 1
    assert AuditEntry.objects.filter(action="store.collect").count() == 1


def test_a_run_that_fails_says_why(sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(running, "collect", broken)
    run = ask_for_run(policy_of_installation(), dry_run=False, actor=ACTOR)
    do_run(run.uuid)
    run.refresh_from_db()
    assert (run.status, run.error_message) == (StoreRun.Status.FAILED, "OSError: the disk is gone")
    assert not AuditEntry.objects.filter(action="store.collect").exists()


def test_a_run_goes_through_the_outbox() -> None:
    """As committed: a worker finds the message even when the broker does not take it."""
    run = ask_for_run(policy_of_installation(), dry_run=True, actor=ACTOR)
    left = list(OutboxMessage.objects.filter(task=COLLECT_GARBAGE))
    assert run.status == StoreRun.Status.READY
    assert all(message.args == [str(run.uuid)] for message in left)


def test_the_command_prints_a_table_and_a_dry_run_changes_nothing() -> None:
    session = run_cells("x = 1", "x = 2")
    unused = blob_store().put(b"unused by anybody").sha256
    age(unused)
    printed = command("--dry-run", "--older-than-days", "0")
    assert "would go" in printed
    assert row_of(printed, "snapshots") == ["2", "of", "1", "sessions", "would", "go"]
    assert row_of(printed, "contents in use")[-1] == "kept"
    assert not snapshots_of(session).exclude(collected_at=None).exists()
    assert blob_store().get(unused)
    report = json.loads(command("--older-than-days", "0", "--json"))
    assert report["snapshots"] == 2
    assert report["freed"]["count"] == 1
    assert snapshots_of(session).exclude(collected_at=None).count() == 2
    assert [run.source for run in StoreRun.objects.all()] == ["cli", "cli"]


@pytest.mark.parametrize("days", ["-1", "nan", "many", "1e9"])
def test_the_command_refuses_other_ages(days: str) -> None:
    with pytest.raises(CommandError, match="a number of days"):
        command(f"--older-than-days={days}")
    assert not StoreRun.objects.exists()


def command(*options: str) -> str:
    out = io.StringIO()
    call_command("collect_garbage", *options, stdout=out)
    return out.getvalue()


def row_of(printed: str, name: str) -> list[str]:
    return next(line for line in printed.splitlines() if line.startswith(f"{name} ")).removeprefix(name).split()


def age(sha256: str) -> None:
    """As if it had been put two days ago."""
    old_s = (timezone.now() - timedelta(days=2)).timestamp()
    os.utime(blob_file(sha256), (old_s, old_s))
