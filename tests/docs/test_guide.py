"""The user guide and the code agree."""

from __future__ import annotations

import re

import msgspec
import pytest

from rlmweb.boot.paths import ROOT_DIR
from runs.engine.limits import Limits
from runs.models import Session
from sandboxes.runner.namespace import Names
from sandboxes.runner.queries import Queries

GUIDE = (ROOT_DIR / "templates" / "docs" / "guide.html").read_text()
LIMIT = re.compile(r"<tr><td><code>(\w+)</code></td><td>([\w.]+)</td>")


def test_every_limit_stands_there_with_its_default() -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(Limits)}
    listed = {name: None if text == "none" else float(text) for name, text in LIMIT.findall(GUIDE)}
    assert listed == defaults


@pytest.mark.parametrize("status", [status for status in Session.Status.values if status != Session.Status.RUNNING])
def test_every_way_to_end_is_explained(status: str) -> None:
    assert f"<li><strong>{status}</strong>" in GUIDE


def test_every_name_that_the_code_of_a_cell_finds_is_explained() -> None:
    class NoQueries(Queries):
        def __init__(self) -> None:
            """Nobody asks anything here."""

    names = {name for name in Names(NoQueries(), "").values if not name.startswith("_")}
    assert {"llm_query", "answer"} <= names
    assert [name for name in names if name not in GUIDE] == []
