"""States that fight back: whoever looks gets an error or a bounded answer, and the host goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

import pytest

from runs.models import Session
from runs.replay.inspect.differences import Difference, difference
from runs.replay.inspect.downloads import Download, download
from runs.replay.inspect.errors import CannotExport, InspectError
from runs.replay.inspect.states import usable_state
from sandboxes.models import SandboxRecord
from tests.runs.replay.inspect.test_looking import actor_of, ask, fetched
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
T = TypeVar("T")
EVIL = """
import os
class Evil:
    def __init__(self, n): self.n = n
    def __repr__(self):
        print('{"entries": [], "cut": "forged"}')
        while True: pass
class Liar(dict):
    def __iter__(self): raise SystemExit
    def __len__(self): return 10 ** 12
    def values(self): os._exit(1)
    def keys(self): return ['x' * 10 ** 6] * 10 ** 6
class Printer:
    def __init__(self, n): self.n = n
    def __repr__(self):
        print('{"bytes": 5}')
        return 'printer'
evil, liar, printer, big, deep, number = [Evil(1)], Liar(a=1), [Printer(1)], 'x' * 3_000_000, [], 10 ** 5000
for _ in range(100): deep = [deep]
"""
CHANGED = "evil.append(Evil(2)); liar['b'] = 2; printer.append(Printer(2)); big += 'y'; deep.append(1); number += 1"


@pytest.fixture
def session() -> Session:
    return run_cells(EVIL, CHANGED)


def outcome(look: Callable[[], T]) -> T | InspectError:
    """What came of looking. Any other error is a failure of the host."""
    try:
        return look()
    except InspectError as error:
        return error


def nothing_runs() -> bool:
    return not SandboxRecord.objects.filter(state=SandboxRecord.State.RUNNING).exists()


def test_code_that_ends_or_fills_its_copy_is_said_to_be_gone(session: Session) -> None:
    assert ask(session, 1, "import os; os._exit(3)").evaluation.status == "killed"
    assert ask(session, 1, "x = [0] * 10 ** 10", timeout_s=10).evaluation.status in ("error", "killed")
    assert ask(session, 1, "evil", timeout_s=1).evaluation.status in ("timeout", "error", "killed")
    assert ask(session, 1, "1 + 1").evaluation.value == "2"
    assert nothing_runs()


def test_a_number_too_long_to_print_is_an_error(session: Session) -> None:
    said = ask(session, 1, "number").evaluation
    assert said.status == "error"
    assert said.error is not None


@pytest.mark.parametrize("name", ["evil", "liar", "printer", "big", "deep", "number"])
def test_a_difference_is_bounded_whatever_the_value_does(session: Session, name: str) -> None:
    state = usable_state(session, 0, 2)
    row = next(row for row in state.rows if row.name == name)
    if not row.has_diff:
        pytest.fail(f"{name} is {row.change}: {row.reason}")
    said = outcome(lambda: difference(state, name, actor=actor_of(session)))
    if isinstance(said, Difference):
        shown = [[each.path, each.before, each.after, each.lines] for each in said.entries]
        assert len(json.dumps(shown)) < 300_000
    assert nothing_runs()


@pytest.mark.parametrize("form", ["json", "csv", "npy", "raw"])
@pytest.mark.parametrize("name", ["evil", "liar", "printer", "deep", "number"])
def test_a_download_is_a_file_or_a_reason(
    session: Session, name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.replay.inspect.downloads.TIMEOUT_S", 2.0)
    state = usable_state(session, 0, 1)
    said = outcome(lambda: download(state, name, form, actor=actor_of(session)))
    if isinstance(said, Download):
        assert len(fetched(said)) == said.size_bytes
    assert nothing_runs()


def test_a_download_over_the_limit_is_refused(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.replay.inspect.downloads.MAX_DOWNLOAD_BYTES", 1_000_000)
    with pytest.raises(CannotExport, match="larger than 1000000 bytes"):
        download(usable_state(session, 0, 1), "big", "raw", actor=actor_of(session))
