"""`manage.py run_session` and `manage.py first_session`, with steps executed here instead of by a worker."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from rlmweb.teams.services import LOCAL_OWNER
from runs.management.commands import run_session
from runs.models import Session, Step
from runs.services.execution import execute_step
from runs.services.first_session import start_first_session
from runs.services.sessions import start_session
from tests.cast import make_cast
from tests.factories import make_team, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker() -> Iterator[None]:
    """One worker slot: executes steps that are due until the test is over."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            for uuid in Step.objects.filter(status=Step.Status.READY).values_list("uuid", flat=True):
                execute_step(uuid)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text("import os\n\nclass SomeError(Exception):\n    pass\n" * 50)
    return path


@pytest.fixture(autouse=True)
def single(settings: Any) -> None:
    settings.SINGLE_USER = True


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, what stood on standard output, and the rest."""
    err = io.StringIO()
    code = 0
    try:
        call_command("run_session", *map(str, arguments), stderr=err)
    except SystemExit as exit_:
        code = int(str(exit_.code))
    return code, capsys.readouterr().out, err.getvalue()


@pytest.mark.usefixtures("worker")
def test_a_session_is_started_shown_and_answered(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--question", "How many?", "--context", context, "--model", "scripted:tour"]
    code, out, err = run(*arguments, capsys=capsys)
    session = Session.objects.get()
    assert code == 0
    assert str(session.uuid) in err
    assert (session.status, session.created_by.username) == ("finished", LOCAL_OWNER)  # type: ignore[union-attr]
    assert f"Answer:\n{session.answer}" in out
    assert "session [scripted]: How many?" in out


def test_the_clock_and_chance_can_be_fixed(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--question", "How many?", "--context", context, "--model", "scripted:tour", "--detach"]
    run(*arguments, "--clock", "1700000000", "--random-seed", "7", capsys=capsys)
    assert Session.objects.get().config["determinism"] == {"clock": 1_700_000_000.0, "seed": 7}
    for wrong in (("--clock", "yesterday"), ("--random-seed", "-1")):
        with pytest.raises(CommandError, match="--clock or --random-seed"):
            run(*arguments, *wrong, capsys=capsys)


@pytest.mark.usefixtures("worker")
def test_the_events_come_as_json_lines_without_gaps(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--question", "How many?", "--context", context, "--model", "scripted:tour", "--json"]
    code, out, _ = run(*arguments, capsys=capsys)
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "session.finished"


@pytest.mark.usefixtures("worker")
def test_the_exit_status_tells_how_it_ended(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--question",
        "How many?",
        "--context",
        context,
        "--model",
        "scripted:tour",
        "--limit",
        "max_lm_calls=2",
    ]
    assert run(*arguments, capsys=capsys)[0] == run_session.EXIT_CODES["limited"]


def test_ctrl_c_stops_the_session(
    context: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker: nothing would ever end it but the stop."""
    started = start_session

    def start_and_interrupt(**arguments: Any) -> Session:
        session = started(**arguments)
        timer = threading.Timer(0.5, lambda: __import__("_thread").interrupt_main())
        timer.start()
        return session

    monkeypatch.setattr(run_session, "start_session", start_and_interrupt)
    code, _, err = run("--question", "?", "--context", context, "--model", "scripted:tour", capsys=capsys)
    assert code == run_session.EXIT_CODES["stopped"]
    assert "Stopping the session" in err
    assert Session.objects.get().status == "stopped"


def test_it_says_that_no_worker_is_there(
    context: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.terminal.follow.UNCLAIMED_AFTER_S", 0)
    timer = threading.Timer(1, lambda: __import__("_thread").interrupt_main())
    timer.start()
    _, _, err = run("--question", "?", "--context", context, "--model", "scripted:tour", capsys=capsys)
    assert "manage.py up" in err


def test_a_detached_session_is_only_named(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    call_command(
        "run_session", "--question", "?", "--context", str(context), "--model", "scripted:tour", "--detach", stdout=out
    )
    assert out.getvalue().strip() == str(Session.objects.get().uuid)


def test_a_text_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped text")))
    call_command(
        "run_session",
        "--question",
        "?",
        "--model",
        "scripted:tour",
        "--detach",
        "--kind",
        "bytes",
        stdout=io.StringIO(),
    )
    context = Session.objects.select_related("context").get().context
    assert (context.name, context.kind, context.size_bytes) == ("standard input", "bytes", 10)


def test_an_example_needs_no_question_and_keeps_its_answer() -> None:
    arguments = ["--example", "s-niah", "--size", "10000", "--model", "scripted:tour", "--detach"]
    call_command("run_session", *arguments, stdout=io.StringIO())
    assert Session.objects.get().config["example"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--question", ""], "--question"),
        (["--model", "gpt-5"], "Choose embedded"),
        (["--model", "scripted:nothing"], "no script"),
        (["--limit", "max_depth"], "NAME=VALUE"),
        (["--limit", "no_such=1"], "NAME=VALUE"),
        (["--limit", "max_depth=many"], "max_depth"),
        (["--limit", "max_depth=0"], "max_depth"),
        (["--context", "/no/such/file"], "cannot be read"),
        (["--user", "nobody"], "no user"),
    ],
)
def test_mistakes_are_said_and_nothing_is_started(context: Path, arguments: list[str], message: str) -> None:
    given = {"--question": "?", "--context": str(context), "--model": "scripted:tour"}
    for name, value in zip(arguments[::2], arguments[1::2], strict=True):
        given[name] = value
    with pytest.raises(CommandError, match=message) as caught:
        call_command("run_session", *(part for pair in given.items() for part in pair))
    assert caught.value.returncode == run_session.USAGE
    assert not Session.objects.exists()


def test_with_many_users_one_has_to_be_named_and_roles_hold(context: Path, settings: Any) -> None:
    settings.SINGLE_USER = False
    cast = make_cast()
    arguments = ["--question", "?", "--context", str(context), "--model", "scripted:tour", "--detach"]
    for name in ("", cast.people["viewer"].username):
        with pytest.raises(CommandError):
            call_command("run_session", *arguments, "--user", name)
    call_command("run_session", *arguments, "--user", cast.people["mate"].username, stdout=io.StringIO())
    assert Session.objects.filter(created_by=cast.people["mate"]).count() == 1


# The first session


def test_a_new_installation_opens_on_the_tour_while_there_is_no_model() -> None:
    out = io.StringIO()
    call_command("first_session", "--no-model", stdout=out)
    session = Session.objects.select_related("context").get()
    assert session.labels == ["scripted"]
    assert session.context.size_bytes > 10_000_000
    assert "Started" in out.getvalue()


def test_it_is_a_real_one_when_the_model_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.services.first_session.status", lambda: {"state": "ready"})
    session = start_first_session()
    assert session is not None
    assert session.labels == ["local model"]
    assert session.config["example"]


def test_it_is_started_once_and_never_where_there_are_sessions() -> None:
    make_user(make_team())
    assert start_first_session() is not None
    assert start_first_session() is None
    assert Session.objects.count() == 1
