"""The catalogue as a team sees it: shipped rows and its own beside them, and what follows for a need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from rlmweb.teams.models import Team
from sandboxes.catalogue.claims import Claim, Status, Support, shipped
from sandboxes.catalogue.keys import CAPABILITIES, COMPARED, PROVIDERS, TOPICS
from sandboxes.catalogue.models import CatalogueRow

Identity = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row for pages, exports and the command. `by`: who entered it; empty: shipped with the product. `corrects`: it
    stands beside a shipped row of the same identity."""

    provider: str
    capability_key: str
    kind: str
    claim_text: str
    support: Support
    value: str
    status: Status
    as_of: date
    source: str
    note: str = ""
    by: str = ""
    uuid: str = ""
    corrects: bool = False

    @property
    def title(self) -> str:
        return PROVIDERS.get(self.provider, self.provider)

    @property
    def topic(self) -> str:
        return TOPICS.get(self.capability_key, self.capability_key)

    @property
    def told(self) -> str:
        """The value, unless the word for its support has said it."""
        said = {Support.NO: "none", Support.UNKNOWN: "not found"}
        return "" if self.value == said.get(self.support) else self.value

    @property
    def identity(self) -> Identity:
        return (self.provider, self.capability_key, self.claim_text)

    @property
    def url(self) -> str:
        """The address in `source`, if there is one: the only schemes that may become a link are those of the web."""
        words = (word.strip("(),;").removesuffix(":") for word in self.source.split())
        return next((word for word in words if word.startswith(("https://", "http://"))), "")


def entries(team: Team | None) -> list[Entry]:
    """All rows in the order of providers and topics; a correction right after what it corrects. Without a team: ours."""
    ours = [_of_claim(claim) for claim in shipped()]
    known = {entry.identity for entry in ours}
    written = CatalogueRow.objects.filter(team=team) if team is not None else CatalogueRow.objects.none()
    own = [_of_row(row, known) for row in written]
    names, topics = list(PROVIDERS), list(TOPICS)
    return sorted(
        [*ours, *own],
        key=lambda entry: (
            names.index(entry.provider),
            topics.index(entry.capability_key),
            entry.kind != "answer",
            entry.claim_text,
            bool(entry.by),
        ),
    )


def answers(rows: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """What holds for each provider and capability: the shipped answer, or the team's newest correction of it."""
    found: dict[tuple[str, str], Entry] = {}
    for row in rows:
        key = (row.provider, row.capability_key)
        if row.kind != "answer" or not row.support:
            continue
        before = found.get(key)
        if before is None or (row.by and (not before.by or row.as_of > before.as_of)):
            found[key] = row
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """One provider against what is needed. `open_points`: met on a condition, or by the vendor's word only."""

    provider: str
    unmet: tuple[Entry, ...]
    open_points: tuple[Entry, ...]
    unanswered: tuple[str, ...]

    @property
    def title(self) -> str:
        return PROVIDERS[self.provider]

    @property
    def fits(self) -> bool:
        return not self.unmet and not self.unanswered


def verdicts(
    known: Mapping[tuple[str, str], Entry], needs: Sequence[str], providers: Sequence[str] = COMPARED
) -> list[Verdict]:
    """In the order of `providers`. What was not found is not met: nobody should count on it."""
    found = []
    for provider in providers:
        rows = [known.get((provider, need)) for need in needs]
        met = [row for row in rows if row is not None]
        found.append(
            Verdict(
                provider,
                tuple(row for row in met if row.support in (Support.NO, Support.UNKNOWN)),
                tuple(row for row in met if row.support in (Support.LIMITED, Support.CLAIMED)),
                tuple(CAPABILITIES[need] for need, row in zip(needs, rows, strict=True) if row is None),
            )
        )
    return found


def _of_claim(claim: Claim) -> Entry:
    return Entry(
        provider=claim.provider,
        capability_key=claim.capability_key,
        kind=claim.kind,
        claim_text=claim.claim_text,
        support=claim.support,
        value=claim.value,
        status=claim.status,
        as_of=claim.as_of,
        source=claim.source,
        note=claim.note,
    )


def _of_row(row: CatalogueRow, known: set[Identity]) -> Entry:
    return Entry(
        provider=row.provider,
        capability_key=row.capability_key,
        kind="answer" if row.support else "claim",
        claim_text=row.claim_text,
        support=Support(row.support),
        value=row.value,
        status=Status(row.status),
        as_of=row.as_of,
        source=row.source,
        note=row.note,
        by=row.entered_by,
        uuid=str(row.uuid),
        corrects=(row.provider, row.capability_key, row.claim_text) in known,
    )
