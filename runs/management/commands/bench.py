"""`manage.py bench SUITE`: measure, print a table, write JSON."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs.bench.machine import machine
from runs.bench.report import table, write_json
from runs.bench.runner import run
from runs.bench.suite import BenchError, find_suite, suite_names


class Command(BaseCommand):
    help = "Measure a suite of bars and hold them against what is promised."
    # The bars measure the installation as it is; what the checks would warn of is not theirs.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("suite", nargs="?", help=f"one of: {', '.join(suite_names())}")
        parser.add_argument("--json", metavar="FILE", type=Path, help="write the result to this file as well")
        parser.add_argument("--only", metavar="NAME", default="", help="only what has this in its name")
        parser.add_argument("--quick", action="store_true", help="fewer rounds: does it run, not how fast is it")
        parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is not met")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["suite"]:
            raise CommandError(f"Name a suite: {', '.join(suite_names())}.")
        _refuse_early(options["json"])
        try:
            suite = find_suite(options["suite"])
            chosen = suite.chosen(options["only"])
        except BenchError as error:
            raise CommandError(str(error)) from error
        where = machine()
        self.stdout.write(f"{suite.name}: {suite.title}")
        self.stdout.write(f"on {where['processor']}, {where['cores']} cores, Python {where['python']}\n\n")
        bars = run(chosen, quick=options["quick"], say=lambda text: self.stderr.write(text))
        self.stdout.write(table(bars))
        if options["quick"]:
            self.stdout.write("Measured with --quick: these numbers are no result.")
        if options["json"]:
            write_json(options["json"], bars, where)
        if options["strict"] and not all(bar.met for bar in bars):
            sys.exit(1)


def _refuse_early(path: Path | None) -> None:
    """A file that cannot be written should cost a second and not the whole run."""
    if path is not None and not path.parent.is_dir():
        raise CommandError(f"There is no folder {path.parent} to write the result to.")
