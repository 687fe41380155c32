"""The rows that are shipped with the product, read and checked.

A row is an *answer* (one for each provider and capability: what is so, as far as it is known) or a *claim* (what somebody
said, and how it stands up). `status` says how well the `value` is supported; `support` what it means for a user's need.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from sandboxes.catalogue.keys import CAPABILITIES, COMPARED, PROVIDERS, TOPICS

FOLDER = Path(__file__).parent / "claims"
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"\A[^\x00-\x1f]+\Z")]
Note = Annotated[str, msgspec.Meta(max_length=500, pattern=r"\A[^\x00-\x1f]*\Z")]


class CatalogueError(ValueError):
    """The catalogue's files (sandboxes/catalogue/claims) are not well-formed; the message names file and line."""


class Status(StrEnum):
    """How well a value is supported."""

    CONFIRMED = "confirmed"
    PARTLY = "partly"
    STALE = "stale"
    MARKETING = "marketing"
    UNVERIFIED = "unverified"


class Support(StrEnum):
    """What a row means for somebody who needs the capability."""

    YES = "yes"
    LIMITED = "limited"
    """Preview, experimental, or on a condition."""
    NO = "no"
    CLAIMED = "claimed"
    """By the vendor's word only."""
    UNKNOWN = "unknown"
    """Looked for and not found."""
    NONE = ""
    """The row answers no need."""


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row. `as_of`: the day for which the source speaks; `source`: an address, or what was looked at."""

    provider: str
    capability_key: str
    kind: Literal["answer", "claim"]
    claim_text: Text
    support: Support = Support.NONE
    value: Text
    status: Status
    as_of: date
    source: Text
    note: Note = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Rows of the same identity say something about the same thing: a correction has that of what it corrects."""
        return (self.provider, self.capability_key, self.claim_text)


@cache
def shipped() -> tuple[Claim, ...]:
    """All rows, by provider in the order of the page. Raises `CatalogueError`."""
    return tuple(claim for name in PROVIDERS for claim in read(name, (FOLDER / f"{name}.jsonl").read_bytes()))


def read(provider: str, content: bytes) -> tuple[Claim, ...]:
    """The rows of one provider's file. Raises `CatalogueError`."""
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        where = f"{provider}.jsonl, line {number}"
        try:
            claim = msgspec.json.decode(line, type=Claim)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise CatalogueError(f"{where}: {error}") from error
        if claim.provider != provider:
            raise CatalogueError(f"{where}: the row is about {claim.provider!r}; move it to that provider's file")
        if claim.capability_key not in TOPICS:
            known = ", ".join(TOPICS)
            raise CatalogueError(f"{where}: there is no capability {claim.capability_key!r}; known: {known}")
        if (claim.kind == "answer") != bool(claim.support):
            raise CatalogueError(f"{where}: an answer says what it supports, and a claim does not")
        rows.append(claim)
    _refuse_gaps(provider, rows)
    return tuple(rows)


def _refuse_gaps(provider: str, rows: Iterable[Claim]) -> None:
    """Every compared provider answers every capability once, if only with "not found"."""
    identities = [row.identity for row in rows]
    if twice := {each for each in identities if identities.count(each) > 1}:
        raise CatalogueError(f"{provider}.jsonl: rows that stand there twice: {sorted(twice)}")
    answered = [row.capability_key for row in rows if row.kind == "answer"]
    if twice_answered := sorted({key for key in answered if answered.count(key) > 1}):
        raise CatalogueError(f"{provider}.jsonl: more than one answer to {', '.join(twice_answered)}")
    missing = [key for key in CAPABILITIES if key not in answered]
    if missing and provider in COMPARED:
        raise CatalogueError(f"{provider}.jsonl: no answer to {', '.join(missing)}; write that it was not found")
