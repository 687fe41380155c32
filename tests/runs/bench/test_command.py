from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from runs.bench.bars import Target
from runs.bench.report import table
from runs.bench.suite import Bench, Suite
from runs.management.commands import bench as command

FIELDS = {"name", "value", "unit", "reference", "ratio", "goal", "met", "n", "note"}


@pytest.fixture(autouse=True)
def suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    made = Suite("example", "One bar met, one not measured.")

    @made.measurement(Target("good", "ms", at_most=2))
    def good(bench: Bench) -> None:
        bench.record("good", 1.5, reference=3, n=7)

    @made.measurement(Target("bad", "ms", at_most=2))
    def bad(bench: Bench) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(command, "find_suite", lambda name: made)
    return made


def bench(*args: str) -> str:
    out = StringIO()
    call_command("bench", "example", *args, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_bar_that_could_not_be_measured_is_shown_as_not_met_with_the_reason() -> None:
    printed = bench()

    assert "1 of 2 bars met." in printed
    assert "not measured: OSError: the disk is on fire" in printed


def test_the_json_has_all_fields_and_the_machine(tmp_path: Path) -> None:
    bench("--json", str(tmp_path / "result.json"))
    result = json.loads((tmp_path / "result.json").read_text())

    assert set(result) == {"bars", "machine"}
    assert [set(bar) for bar in result["bars"]] == [FIELDS, FIELDS]
    assert result["bars"][0] == {
        "name": "good",
        "value": 1.5,
        "unit": "ms",
        "reference": 3,
        "ratio": 0.5,
        "goal": "<= 2 ms",
        "met": True,
        "n": 7,
        "note": "",
    }
    assert result["bars"][1]["value"] is None
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["memory_bytes"] > 0


def test_a_missed_bar_ends_with_an_error_only_when_asked_to() -> None:
    bench()
    bench("--strict", "--only", "good")
    with pytest.raises(SystemExit) as stop:
        bench("--strict")
    assert stop.value.code == 1


def test_quick_numbers_are_marked() -> None:
    assert "no result" in bench("--quick")
    assert "no result" not in bench()


def test_a_folder_that_is_missing_is_said_before_anything_is_measured(tmp_path: Path, suite: Suite) -> None:
    suite.measurements.clear()

    with pytest.raises(CommandError, match="no folder"):
        bench("--json", str(tmp_path / "missing" / "result.json"))


def test_a_suite_has_to_be_named() -> None:
    with pytest.raises(CommandError, match="Name a suite"):
        call_command("bench", stdout=StringIO())


def test_columns_line_up_and_large_numbers_keep_their_digits() -> None:
    bars = [Target("a", "MiB").measured(123456, n=1), Target("longer name", "ms").measured(0.012345, n=12)]
    head, rule, first, second, *_ = table(bars).splitlines()

    assert first.index("123,456 MiB") == second.index("0.01235 ms") == head.index("value")
    assert set(rule) == {"-", " "}
