"""`manage.py test`: every check of the repository, the same here and in continuous integration."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlmweb.boot import chromium
from rlmweb.boot.environment import clean_environment
from rlmweb.boot.paths import ROOT_DIR, VENV_DIR
from rlmweb.boot.progress import Progress

CHECKED = ("manage.py", "rlmweb", "runs", "sandboxes", "tests")


@dataclass(frozen=True)
class Outcome:
    name: str
    code: int
    duration_s: float

    def __str__(self) -> str:
        return f"{'ok    ' if self.code == 0 else 'FAILED'} {self.name} ({self.duration_s:.1f} s)"


def commands(pytest_arguments: Sequence[str]) -> list[tuple[str, list[str | Path]]]:
    tools = VENV_DIR / "bin"
    return [
        ("ruff check", [tools / "ruff", "check", "--quiet", *CHECKED]),
        ("ruff format", [tools / "ruff", "format", "--check", "--quiet", *CHECKED]),
        ("mypy", [tools / "mypy", "--no-error-summary"]),
        ("import contracts", [tools / "lint-imports", "--no-logo"]),
        ("pytest", [sys.executable, "-m", "pytest", *pytest_arguments]),
    ]


def main(arguments: Sequence[str]) -> int:
    """Run all checks even when one fails; 0 only when every one passed. The arguments go to pytest."""
    progress = Progress()
    try:
        program = chromium.ensure(VENV_DIR / "tools", progress.say)
    except chromium.NoChromium as error:
        progress.warn(str(error))
        return 1
    progress.say(f"Browser: {program}")
    environment = clean_environment() | {"RLMWEB_CHROMIUM": program}
    outcomes = [run(name, command, environment, progress) for name, command in commands(arguments)]
    progress.say("Summary:")
    for outcome in outcomes:
        print(f"  {outcome}", flush=True)
    return int(any(outcome.code for outcome in outcomes))


def run(name: str, command: list[str | Path], environment: dict[str, str], progress: Progress) -> Outcome:
    progress.say(f"{name} ...")
    started_s = time.monotonic()
    path = os.pathsep.join([str(VENV_DIR / "bin"), environment.get("PATH", os.defpath)])
    done = subprocess.run(command, cwd=ROOT_DIR, env=environment | {"PATH": path})
    return Outcome(name, done.returncode, time.monotonic() - started_s)
