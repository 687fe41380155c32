"""Hundreds of namespaces, written down in one process and brought back in another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandboxes.runner.corpus import CASES

TIMEOUT_S = 240
LEAST_CASES = 300


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("corpus") / "taken"
    return path, corpus("take", path)


def corpus(command: str, path: Path) -> dict[str, str]:
    """What was wrong, by case."""
    arguments = [sys.executable, "-W", "ignore", "-m", "tests.sandboxes.runner.corpusrun", command, str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    wrong: dict[str, str] = json.loads(done.stdout)
    return wrong


def shown(wrong: dict[str, str]) -> str:
    return "\n".join(f"{name}: {why}" for name, why in wrong.items())


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= LEAST_CASES


def test_a_snapshot_of_what_changed_says_the_same_as_one_of_everything(taken: tuple[Path, dict[str, str]]) -> None:
    assert not taken[1], shown(taken[1])


def test_what_is_restored_equals_the_original_and_what_is_not_held_is_listed(
    taken: tuple[Path, dict[str, str]],
) -> None:
    wrong = corpus("compare", taken[0])
    assert not wrong, shown(wrong)
