"""What the documents promise exists: files, pictures, commands, suites."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from runs.bench.suite import suite_names

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    "CHANGELOG.md",
    ".github/CONTRIBUTING.md",
    "rlmweb/docs/architecture.md",
    "rlmweb/docs/directory.md",
]
LINK = re.compile(r"\]\((?!https?:|#|/)([^)#]+)\)")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_and_picture_is_there(name: str) -> None:
    document = ROOT / name
    missing = [target for target in LINK.findall(document.read_text()) if not (document.parent / target).exists()]
    assert missing == []


def test_every_command_of_the_readme_is_there() -> None:
    named = set(re.findall(r"manage\.py (\w+)", (ROOT / "README.md").read_text()))
    assert {"up", "test", "bench", "run_session"} <= named
    assert named - {"up", "test"} <= set(get_commands())


def test_every_suite_of_the_readme_is_there() -> None:
    measured = (ROOT / "README.md").read_text().split("<!-- bars -->")[1].split("<!-- /bars -->")[0]
    rows = re.findall(r"^\| `([a-z]+)` \|", measured, re.MULTILINE)
    assert len(rows) >= 4
    assert set(rows) <= set(suite_names())


def test_every_path_of_the_architecture_note_is_there() -> None:
    text = (ROOT / "rlmweb/docs/architecture.md").read_text()
    paths = re.findall(r"`((?:runs|sandboxes|static|rlmweb|services|events)/[\w/.]+\.(?:py|js))`", text)
    assert len(paths) > 10
    assert [path for path in paths if not any((ROOT / base / path).exists() for base in (".", "runs"))] == []


@pytest.mark.parametrize("name", ["rlmweb/docs/directory.md", ".github/CONTRIBUTING.md"])
def test_every_folder_and_file_that_is_named_is_there(name: str) -> None:
    rooms = r"(?:rlmweb|runs|sandboxes|templates|static|tests)/"
    paths = re.findall(rf"`({rooms}[\w/.]*)`", (ROOT / name).read_text())
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
