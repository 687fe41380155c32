"""`manage.py roll_out`: many branches from chosen steps of a session, scored, as a table in the terminal."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.http import Http404

from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import User, actor_of, session_for
from runs.management.people import user_named
from runs.models import Rollout
from runs.queries import expected_answer
from runs.replay.changes import Changes
from runs.replay.rollouts.results import to_csv, to_plain
from runs.replay.rollouts.scorers import InvalidScorer, Scorer, scorer_from_plain
from runs.replay.rollouts.starting import CannotRollOut, start_rollout, stop_rollout
from runs.services.config import InvalidConfig
from runs.services.snapshots.reading import SnapshotError

EXIT_CODES = {"finished": 0, "failed": 1, "stopped": 4}
USAGE = 2
LOOK_EVERY_S = 1.0
SCORERS = ("exact", "contains", "numeric", "regex", "python", "judge")


class Command(BaseCommand):
    help = "Fork a session many times from chosen steps and score the answers. Ctrl-C stops all branches."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("session", help="uuid of the session")
        parser.add_argument("--node", type=int, default=0)
        parser.add_argument("--step", type=int, action="append", required=True, help="again for more; 0: the start")
        parser.add_argument("--branches", type=int, default=8, help="from each step (default: 8)")
        parser.add_argument("--scorer", choices=SCORERS, default="exact")
        parser.add_argument("--expected", default=None, help="right answer (default: that of the session's example)")
        parser.add_argument("--tolerance", type=float, default=0.0, help="for --scorer numeric")
        parser.add_argument("--pattern", default="", help="for --scorer regex")
        parser.add_argument("--source", type=Path, help="file that defines score(answer, expected, question)")
        parser.add_argument("--rubric", default="", help="for --scorer judge")
        parser.add_argument("--max-cost-usd", type=float, default=None, help="of all branches together")
        parser.add_argument("--user", default="", help="who starts it, where the installation has many users")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print everything as JSON")
        form.add_argument("--csv", action="store_true", help="print a line for each branch")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = user_named(options["user"])
            rollout = self._start(user, options)
        except (InvalidConfig, InvalidScorer, CannotRollOut, PolicyRefused, SnapshotError, OSError) as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except Http404:
            raise CommandError(f"There is no session {options['session']!r} for you.", returncode=USAGE) from None
        try:
            self._watch(rollout)
        except KeyboardInterrupt:
            self.stderr.write("Stopping all branches.")
            stop_rollout(rollout, actor=actor_of(user, "cli"))
            rollout.refresh_from_db()
        self._print(rollout, options)
        if code := EXIT_CODES[rollout.status]:
            sys.exit(code)

    def _start(self, user: User, options: dict[str, Any]) -> Rollout:
        session = session_for(user, options["session"], "evaluate")
        expected = expected_answer(session) if options["expected"] is None else options["expected"]
        return start_rollout(
            actor=actor_of(user, "cli"),
            session=session,
            node=options["node"],
            steps=options["step"],
            branches=options["branches"],
            scorer=_scorer(options, expected),
            changes=Changes(),
            max_cost_usd=options["max_cost_usd"],
        )

    def _watch(self, rollout: Rollout) -> None:
        """Until it is over."""
        told = -1
        self.stderr.write(f"Rollout {rollout.uuid}")
        while rollout.status == Rollout.Status.RUNNING:
            done, every = rollout.branches.exclude(scored_at=None).count(), rollout.branches.count()
            if done != told:
                told = done
                self.stderr.write(f"{done} of {every} branches scored")
            pause()
            rollout.refresh_from_db()

    def _print(self, rollout: Rollout, options: dict[str, Any]) -> None:
        if options["csv"]:
            self.stdout.write(to_csv(rollout), ending="")
            return
        plain = to_plain(rollout)
        if options["json"]:
            self.stdout.write(json.dumps(plain, ensure_ascii=False, indent=2))
            return
        for each in plain["steps"]:
            share = "   -" if each["share"] is None else f"{each['share']:4.0%}"
            interval = f"{each['low']:.0%} to {each['high']:.0%}" if each["scored"] else "not known"
            left = f", {each['failed']} not scored" if each["failed"] else ""
            self.stdout.write(
                f"step {each['step']:>3}  {share}  {each['right']} of {each['scored']} right  (95 %: {interval}){left}"
            )
        if (drop := plain["largest_drop"]) is not None:
            sure = "" if drop["certain"] else " (the intervals overlap)"
            self.stdout.write(f"Largest drop: during step {drop['after']}, by {drop['by'] * 100:.0f} points{sure}")
        if plain["error"]:
            self.stdout.write(plain["error"])


def pause() -> None:
    time.sleep(LOOK_EVERY_S)


def _scorer(options: dict[str, Any], expected: str) -> Scorer:
    """Raises `InvalidScorer`, `OSError`."""
    kind = options["scorer"]
    fields: dict[str, Any] = {"kind": kind, "expected": expected}
    if kind == "numeric":
        try:
            fields |= {"expected": float(expected.replace(",", "")), "tolerance": options["tolerance"]}
        except ValueError:
            raise InvalidScorer(f"--expected {expected[:60]!r} is not a number.") from None
    elif kind == "regex":
        fields = {"kind": kind, "pattern": options["pattern"]}
    elif kind == "python":
        if options["source"] is None:
            raise InvalidScorer("Name the file with the function: --source FILE.")
        fields["source"] = options["source"].read_text(encoding="utf-8")
    elif kind == "judge":
        fields["rubric"] = options["rubric"]
    return scorer_from_plain(fields)
