"""`manage.py providers`: the catalogue in the terminal, the same rows as the page."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rlmweb.teams.models import Team
from sandboxes.catalogue.asking import Question, Table, UnknownQuestion, question_of, table_of
from sandboxes.catalogue.claims import Status
from sandboxes.catalogue.entries import Entry, entries
from sandboxes.catalogue.export import to_csv, to_plain
from sandboxes.catalogue.keys import CAPABILITIES, PROVIDERS
from sandboxes.catalogue.summaries import REAL, Source, Summary, summaries

USAGE = 2


class Command(BaseCommand):
    help = "What is said of the sandbox providers, how well it stands up, and what was measured."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", nargs="*", help=f"only these (default: all): {', '.join(PROVIDERS)}")
        needs = ", ".join(CAPABILITIES)
        parser.add_argument(
            "--need", action="append", default=[], metavar="CAPABILITY", help=f"again for more: {needs}"
        )
        statuses = ", ".join(each.value for each in Status)
        parser.add_argument(
            "--status", action="append", default=[], metavar="STATUS", help=f"again for more: {statuses}"
        )
        parser.add_argument("--team", default="", help="slug of the team whose own rows stand beside the shipped ones")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print claims and measurements as JSON")
        form.add_argument("--csv", action="store_true", help="print the claims as CSV")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            question = question_of(options["need"], options["status"])
        except UnknownQuestion as error:
            raise CommandError(str(error), returncode=USAGE) from error
        wanted = options["provider"] or list(PROVIDERS)
        if unknown := [name for name in wanted if name not in PROVIDERS]:
            raise CommandError(
                f"The catalogue has no provider {unknown[0]!r}. It has: {', '.join(PROVIDERS)}.", returncode=USAGE
            )
        table = table_of([row for row in entries(_team(options["team"])) if row.provider in wanted], question)
        if options["csv"]:
            self.stdout.write(to_csv(table.shown), ending="")
            return
        measured = [each for each in summaries([*REAL, Source.LOOPBACK]) if each.provider in wanted]
        if options["json"]:
            self.stdout.write(json.dumps(to_plain(table.shown, measured), ensure_ascii=False, indent=2))
            return
        self._print(table, question, wanted)
        self._print_measured(measured)

    def _print(self, table: Table, question: Question, wanted: list[str]) -> None:
        for verdict in table.verdicts:
            if verdict.provider not in wanted:
                continue
            reasons = [f"{row.topic}: {row.value}" for row in (*verdict.unmet, *verdict.open_points)]
            reasons += [f"{topic}: does not apply" for topic in verdict.unanswered]
            word = "left out" if not verdict.fits else "with conditions" if verdict.open_points else "fits"
            self.stdout.write(f"{verdict.title:<14}{word:<17}{'; '.join(reasons)}")
        topics = [row for row in table.rows if not question.needs or row.needed]
        for row in topics:
            self.stdout.write(f"\n{row.title}")
            for cell in row.cells:
                for entry in (*cell.answers, *cell.claims):
                    self.stdout.write(_line(entry))
        if not topics:
            self.stdout.write("No row is left. Take a need or a status away.")

    def _print_measured(self, measured: list[Summary]) -> None:
        if not measured:
            self.stdout.write("\nNothing was measured yet. Measure with: python3 manage.py bench providers")
            return
        self.stdout.write("\nMeasured, in milliseconds")
        for each in measured:
            figures = "-" if each.p50_ms is None else f"p50 {each.p50_ms:,.1f}  p95 {each.p95_ms or 0:,.1f}"
            place = ", ".join(part for part in (each.region, each.measured_from, each.source_title) if part)
            failed = f", {each.failed} failed" if each.failed else ""
            self.stdout.write(
                f"  {each.title:<14}{each.operation_title:<24}{figures}  n {each.n}{failed}"
                f"  ({place}, {each.last_at:%Y-%m-%d})"
            )


def _line(entry: Entry) -> str:
    said = "" if entry.kind == "answer" else f"“{entry.claim_text}”: "
    support = f"{entry.support}, " if entry.support else ""
    by = f" (by {entry.by})" if entry.by else ""
    return f"  {entry.title:<14}{said}{support}{entry.value}  [{entry.status}, {entry.as_of}, {entry.source}]{by}"


def _team(slug: str) -> Team | None:
    if not slug:
        return None
    team = Team.objects.filter(slug=slug).first()
    if team is None:
        raise CommandError(f"There is no team {slug!r}.", returncode=USAGE)
    return team
