"""`manage.py roll_out`: the same rollouts, in the terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from runs.management.commands import roll_out
from runs.models import Rollout, RolloutBranch, Session
from tests.factories import make_user
from tests.runs.replay.rollouts.test_rollouts import keep, keep_until_over
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> Session:
    return run_cells("x = [1]", "x.append(2)")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the command waits, workers do their part."""
    monkeypatch.setattr(roll_out, "pause", lambda: keep_until_over(Rollout.objects.get()))


def roll(source: Session, *options: str, user: str = "") -> str:
    out = io.StringIO()
    name = user or str(source.created_by and source.created_by.get_username())
    call_command("roll_out", str(source.uuid), "--user", name, *options, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_table_has_a_line_for_each_step(source: Session, workers: None) -> None:
    text = roll(source, "--step", "1", "--step", "2", "--branches", "2", "--expected", "done")
    first, second = text.splitlines()
    assert first == "step   1  100%  2 of 2 right  (95 %: 34% to 100%)"
    assert second.startswith("step   2  100%")


def test_json_and_csv_say_everything(source: Session, workers: None) -> None:
    asked = ("--step", "1", "--branches", "1", "--scorer", "contains", "--expected", "on")
    assert json.loads(roll(source, *asked, "--json"))["steps"][0]["right"] == 1
    Rollout.objects.all().delete()
    assert roll(source, *asked, "--csv").splitlines()[0].startswith("step,branch,status")


def test_a_function_is_read_from_its_file(source: Session, workers: None, tmp_path: Path) -> None:
    path = tmp_path / "score.py"
    path.write_text("def score(answer, expected, question):\n    return 0.25\n")
    plain = json.loads(
        roll(source, "--step", "1", "--branches", "1", "--scorer", "python", "--source", str(path), "--json")
    )
    assert plain["branches"][0]["score"] == 0.25


def test_ctrl_c_stops_all_branches(source: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        keep()
        raise KeyboardInterrupt

    monkeypatch.setattr(roll_out, "pause", interrupted)
    with pytest.raises(SystemExit) as ended:
        roll(source, "--step", "1", "--branches", "2", "--expected", "done")
    assert ended.value.code == 4
    assert set(RolloutBranch.objects.values_list("session__status", flat=True)) == {"stopped"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "9", "--expected", "x"], "no finished step 9"),
        (["--step", "1"], "which answer is expected"),
        (["--step", "1", "--expected", "x", "--branches", "65"], "Between 1 and 64"),
        (["--step", "1", "--scorer", "numeric", "--expected", "many"], "is not a number"),
        (["--step", "1", "--scorer", "python"], "--source FILE"),
        (["--step", "1", "--scorer", "python", "--source", "/nowhere/score.py"], "No such file"),
        (["--step", "1", "--scorer", "judge"], "rubric"),
    ],
)
def test_what_is_wrong_is_said(source: Session, options: list[Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        roll(source, *options)
    assert not Rollout.objects.exists()


def test_a_stranger_finds_no_session(source: Session) -> None:
    stranger = make_user()
    with pytest.raises(CommandError, match="no session"):
        roll(source, "--step", "1", "--expected", "x", user=stranger.get_username())
