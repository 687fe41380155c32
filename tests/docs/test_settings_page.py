"""The page of settings and the code agree."""

from __future__ import annotations

import re

from rlmweb.boot.paths import ROOT_DIR

PAGE = ROOT_DIR / "rlmweb" / "docs" / "settings.md"
VARIABLE = re.compile(r"\bRLMWEB_[A-Z0-9_]+\b")


def used() -> set[str]:
    """Variables that the code or the containers read."""
    files = [path for room in ("rlmweb", "runs", "sandboxes") for path in (ROOT_DIR / room).rglob("*.py")]
    files.append(ROOT_DIR / "docker-compose.yml")
    return {name for path in files for name in VARIABLE.findall(path.read_text())}


def test_every_variable_in_the_code_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE))
    assert used() - described == set()


def test_the_page_describes_no_variable_that_nothing_reads() -> None:
    assert set(VARIABLE.findall(PAGE.read_text())) - used() == set()


def test_other_documents_name_no_variable_that_is_not_described() -> None:
    described = set(VARIABLE.findall(PAGE.read_text()))
    for name in ("README.md", ".docker/example.env", ".docker/Dockerfile", "templates/docs/guide.html"):
        assert set(VARIABLE.findall((ROOT_DIR / name).read_text())) <= described, name
