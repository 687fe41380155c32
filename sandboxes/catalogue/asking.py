"""What a reader asks of the catalogue: needs and statuses, from the parameters of an address or of the command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from sandboxes.catalogue.claims import Status
from sandboxes.catalogue.entries import Entry, Verdict, answers, verdicts
from sandboxes.catalogue.keys import CAPABILITIES, PROVIDERS, TOPICS


class UnknownQuestion(ValueError):
    """A need or a status that the catalogue does not have; the message lists those that it has."""


@dataclass(frozen=True, slots=True)
class Question:
    """`needs`: capabilities that must be there. `statuses`: rows of these only; empty: all."""

    needs: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()

    @property
    def parameters(self) -> str:
        """For an address that asks the same."""
        return urlencode([*(("need", need) for need in self.needs), *(("status", each) for each in self.statuses)])


@dataclass(frozen=True, slots=True)
class Cell:
    """One provider and one topic."""

    provider: str
    answers: tuple[Entry, ...]
    claims: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One topic over all shown providers. `text`: what is asked of each."""

    key: str
    title: str
    text: str
    needed: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    providers: tuple[tuple[str, str], ...]
    """Names and titles of the columns."""
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    shown: tuple[Entry, ...]
    """All rows of the catalogue that the table holds."""

    @property
    def left_out(self) -> list[Verdict]:
        return [each for each in self.verdicts if not each.fits]


def question_of(needs: Iterable[str], statuses: Iterable[str]) -> Question:
    """Raises `UnknownQuestion`."""
    wanted, kept = tuple(dict.fromkeys(needs)), tuple(dict.fromkeys(statuses))
    for kind, words, known in (("need", wanted, list(CAPABILITIES)), ("status", kept, [each.value for each in Status])):
        for word in words:
            if word not in known:
                raise UnknownQuestion(f"The catalogue has no {kind} {word[:60]!r}. Choose of: {', '.join(known)}.")
    return Question(wanted, kept)


def table_of(rows: Sequence[Entry], question: Question) -> Table:
    """Providers that meet all needs, side by side; what is needed first, then the topics in their order."""
    judged = verdicts(answers(rows), question.needs, tuple(PROVIDERS)) if question.needs else []
    out = {each.provider for each in judged if not each.fits}
    names = [name for name in PROVIDERS if name not in out]
    shown = [
        row
        for row in rows
        if row.provider in names and (not question.statuses or row.status.value in question.statuses)
    ]
    topics = sorted(TOPICS, key=lambda key: key not in question.needs)
    made = (_row(key, [row for row in shown if row.capability_key == key], names, question) for key in topics)
    return Table(
        tuple((name, PROVIDERS[name]) for name in names),
        tuple(row for row in made if any(cell.answers or cell.claims for cell in row.cells)),
        tuple(judged),
        tuple(shown),
    )


def _row(key: str, rows: Sequence[Entry], names: Sequence[str], question: Question) -> Row:
    cells = tuple(
        Cell(
            name,
            tuple(row for row in rows if row.provider == name and row.kind == "answer"),
            tuple(row for row in rows if row.provider == name and row.kind != "answer"),
        )
        for name in names
    )
    text = next((row.claim_text for row in rows if row.kind == "answer" and not row.by), "")
    return Row(key, TOPICS[key], text, key in question.needs, cells)
