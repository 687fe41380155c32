"""A scan for known mistakes finds none of medium severity or higher, and whoever silences it says why."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from rlmweb.boot.paths import ROOT_DIR, VENV_DIR

SCANNED = ("manage.py", "rlmweb", "runs", "sandboxes")
SILENCED = re.compile(r"#\s*nosec\b(.*)$")
REASON = re.compile(r" B\d{3}  # \S.{2,}")
MOST_SILENCED = 20


def test_bandit_finds_nothing_of_medium_severity_or_higher() -> None:
    command = [str(VENV_DIR / "bin" / "bandit"), "-q", "-ll", "-c", "pyproject.toml", "-r", *map(str, SCANNED)]
    done = subprocess.run(command, cwd=ROOT_DIR, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_bandit_would_find_a_mistake(tmp_path: Path) -> None:
    """The scan above is not vacuous: the same command fails on a file with a mistake in it."""
    file = tmp_path / "bad.py"
    file.write_text("import subprocess\nsubprocess.run(input(), shell=True)\n")
    command = [str(VENV_DIR / "bin" / "bandit"), "-q", "-ll", "-c", "pyproject.toml", "-r", str(file)]
    assert subprocess.run(command, cwd=ROOT_DIR, capture_output=True).returncode == 1


def test_what_is_silenced_is_little_names_its_check_and_has_a_reason() -> None:
    files = [path for folder in SCANNED[1:] for path in (ROOT_DIR / folder).rglob("*.py")]
    lines = [(path.name, line) for path in files for line in path.read_text().splitlines()]
    found = [(name, match[1]) for name, line in lines if (match := SILENCED.search(line))]
    assert [each for each in found if not REASON.fullmatch(each[1])] == []
    assert 0 < len(found) <= MOST_SILENCED
