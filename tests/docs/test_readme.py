"""What the documents promise exists: files, pictures, commands, suites."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands

from rlmweb.boot import up
from runs.bench.suite import suite_names
from runs.management.commands.run_session import Command as RunSession

ROOT = Path(__file__).resolve().parents[2]
MOST_PICTURE_BYTES = 250_000
ROOMS = ("rlmweb", "runs", "sandboxes")
PAGES = sorted(path for room in ROOMS for path in (ROOT / room / "docs").rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / ".github/CONTRIBUTING.md", *PAGES]
LINK = re.compile(r"\]\((?!https?:|#|/)([^)#]+)(?:#([\w-]+))?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_picture_is_there(document: Path) -> None:
    for name, heading in LINK.findall(document.read_text()):
        target = document.parent / name
        assert target.exists(), name
        assert not heading or heading in headings(target), f"{name}#{heading}"


def headings(document: Path) -> set[str]:
    """Names by which the headings of a page are linked."""
    found = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in found}


def test_the_pictures_of_the_readme_are_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(pictures) >= 2
    for name in pictures:
        data = (ROOT / name).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) < MOST_PICTURE_BYTES, name


def test_every_command_of_the_readme_is_there() -> None:
    named = set(re.findall(r"manage\.py (\w+)", (ROOT / "README.md").read_text()))
    assert {"up", "test", "bench", "run_session"} <= named
    assert named - {"up", "test"} <= set(get_commands())


@pytest.mark.parametrize("name", ["README.md", "templates/docs/guide.html"])
def test_every_call_of_run_session_can_be_parsed(name: str) -> None:
    parser = RunSession().create_parser("manage.py", "run_session")
    calls = re.findall(r"manage\.py run_session (--[^\n<]+)", (ROOT / name).read_text())
    assert len(calls) >= 2
    for call in calls:
        parser.parse_args(shlex.split(call))


def test_every_option_that_the_readme_names_is_there() -> None:
    options = {
        name
        for action in RunSession().create_parser("manage.py", "run_session")._actions
        for name in action.option_strings
    }
    flags = set(re.findall(r"`(--[a-z-]+)`", (ROOT / "README.md").read_text()))
    assert flags
    for flag in flags - options:
        up.parse([flag])


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
