"""The table of the conformance suite is the suite's own. To make it anew: `python -m tests.sandboxes.conformance`."""

from __future__ import annotations

from pathlib import Path

from tests.sandboxes.conformance.matrix import groups, matrix

PAGE = Path(__file__).parents[2] / "sandboxes/docs/conformance.md"


def test_the_page_says_what_runs_where() -> None:
    assert PAGE.read_text() == matrix(), "make it anew: python -m tests.sandboxes.conformance"


def test_every_module_of_the_suite_is_in_it() -> None:
    modules = {path.stem for path in (Path(__file__).parent / "conformance").glob("test_*.py")}
    assert len(list(groups())) == len(modules)
    assert all(cases for _, cases in groups())
