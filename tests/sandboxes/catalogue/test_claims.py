"""The shipped rows are well-formed and complete, and a file that is not is refused with its line."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest

from sandboxes.catalogue.claims import FOLDER, CatalogueError, Status, Support, read, shipped
from sandboxes.catalogue.keys import CAPABILITIES, COMPARED, PROVIDERS

ROW = {
    "provider": "local",
    "capability_key": "gpu",
    "kind": "answer",
    "claim_text": "Sandboxes with a GPU",
    "support": "yes",
    "value": "one",
    "status": "confirmed",
    "as_of": "2026-11-22",
    "source": "a look at the machine",
    "note": "",
}


def line(**changes: Any) -> bytes:
    return json.dumps({**ROW, **changes}).encode()


def test_every_compared_provider_answers_every_capability_once() -> None:
    for name in COMPARED:
        answered = [row.capability_key for row in shipped() if row.provider == name and row.kind == "answer"]
        assert sorted(answered) == sorted(CAPABILITIES)


def test_rows_name_their_source_and_a_day_that_is_over() -> None:
    for row in shipped():
        assert date(2025, 1, 1) <= row.as_of <= date.today(), row
        assert len(row.source) > 10, row
        if row.support is Support.UNKNOWN:
            assert row.status is Status.UNVERIFIED, row


def test_the_claims_of_the_comparison_are_there_for_each_vendor() -> None:
    claims = [row for row in shipped() if row.kind == "claim"]
    assert {row.provider for row in claims} == set(COMPARED)
    assert {row.status for row in claims} == set(Status)
    open_source = next(row for row in claims if row.provider == "daytona" and row.claim_text.startswith("Open source"))
    assert (open_source.status, open_source.as_of) == (Status.STALE, date(2026, 6, 25))


def test_there_is_a_file_for_each_provider_and_no_other() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(PROVIDERS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "local.jsonl, line 1"),
        (line() + b"\n" + line(status="true"), "line 2: Invalid enum value 'true'"),
        (line(as_of="yesterday"), "as_of"),
        (line(source=""), "source"),
        (line(value="two\nlines"), "value"),
        (line(provider="modal"), "the row is about 'modal'"),
        (line(capability_key="teleport"), "there is no capability 'teleport'"),
        (line(support=""), "an answer says what it supports"),
        (line(kind="claim"), "an answer says what it supports"),
        (line(price=3), "unknown field `price`"),
        (line() + b"\n" + line(), "stand there twice"),
        (line() + b"\n" + line(claim_text="Graphics"), "more than one answer to gpu"),
    ],
)
def test_a_file_that_is_not_well_formed_is_refused_with_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(CatalogueError, match=re.escape(message)):
        read("local", content)


def test_a_vendor_without_an_answer_is_refused() -> None:
    with pytest.raises(CatalogueError, match=r"modal\.jsonl: no answer to isolation"):
        read("modal", line(provider="modal"))
