from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rlmweb.boot import chromium, testing


def fake_checks(*codes: int) -> list[tuple[str, list[str | Path]]]:
    return [(f"check {number}", [sys.executable, "-c", f"exit({code})"]) for number, code in enumerate(codes, 1)]


@pytest.fixture(autouse=True)
def _no_browser_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "ensure", lambda cache_dir, say: "/chromium")


def test_one_failure_fails_the_whole_and_hides_no_later_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(testing, "commands", lambda arguments: fake_checks(0, 3, 0))
    assert testing.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["ok", "FAILED", "ok"]


def test_all_checks_passed_is_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "commands", lambda arguments: fake_checks(0, 0))
    assert testing.main([]) == 0


def test_without_a_browser_nothing_is_called_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_chromium(cache_dir: Path, say: object) -> str:
        raise chromium.NoChromium("none")

    monkeypatch.setattr(chromium, "ensure", no_chromium)
    assert testing.main([]) == 1


def test_arguments_go_to_pytest_only() -> None:
    found = dict(testing.commands(["-k", "one"]))
    assert found["pytest"][-2:] == ["-k", "one"]
    assert all("-k" not in command for name, command in found.items() if name != "pytest")
