"""`manage.py collect_garbage`: give up what the retention policy says, and report it as a table."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs.access import Actor
from runs.store.collect import AlreadyCollecting
from runs.store.policy import policy_of_installation
from runs.store.report import Amount, Report, report_to_plain
from runs.store.running import run_now
from runs.templatetags.quantities import size

MAX_DAYS = 36_500.0


class Command(BaseCommand):
    help = "Give up old snapshots of sessions that are over, and delete contents that nobody uses."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
        parser.add_argument(
            "--older-than-days",
            type=_days,
            default=None,
            metavar="N",
            help="age of the snapshots to give up (default: RLMWEB_SNAPSHOT_DAYS)",
        )
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        policy = policy_of_installation(older_than_days=options["older_than_days"])
        try:
            report = run_now(policy, dry_run=options["dry_run"], actor=Actor(None, "cli"))
        except AlreadyCollecting as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(report_to_plain(report), indent=2))
            return
        for line in table(report, dry_run=options["dry_run"]):
            self.stdout.write(line)
        for problem in report.problems:
            self.stderr.write(f"not looked at: {problem}")


def table(report: Report, *, dry_run: bool) -> list[str]:
    verb = "would go" if dry_run else "gone"
    rows = [
        ("snapshots", report.snapshots, f"of {report.sessions} sessions", verb),
        _row("contents", report.freed, verb),
        _row("copies of contexts", report.context_copies, verb),
        _row("unfinished uploads", report.uploads, verb),
        _row("contents, unused but too young", report.young, "kept"),
        _row("contents in use", report.used, "kept"),
    ]
    width = max(len(row[0]) for row in rows)
    return [f"{name:<{width}}  {number:>9,}  {amount:>16}  {said}" for name, number, amount, said in rows]


def _row(name: str, amount: Amount, said: str) -> tuple[str, int, str, str]:
    return name, amount.count, size(amount.size_bytes), said


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days <= MAX_DAYS:
        raise ArgumentTypeError(f"a number of days from 0 to {MAX_DAYS:.0f}, not {text[:40]!r}")
    return days
