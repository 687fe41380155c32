"""`manage.py audit_verify`: exit 0 intact, 1 tampered with the first bad entry, 2 incomplete."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand

from rlmweb.audit.checkpoints import anchors_of
from rlmweb.audit.standalone import Unreadable
from rlmweb.audit.verify import State, chains, verify


class Command(BaseCommand):
    help = "Recompute the audit log and compare it with its signed checkpoints."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--chain", type=UUID, action="append", help="only this chain, by its uuid")
        parser.add_argument("--without-checkpoints", action="store_true", help="the hashes alone")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = options["chain"] or chains()
        worst = State.INTACT if wanted else State.INCOMPLETE
        for chain in wanted:
            try:
                anchors = {} if options["without_checkpoints"] else anchors_of(chain)
            except Unreadable as error:
                self.stderr.write(f"{chain}: {error}")
                worst = State.TAMPERED
                continue
            verdict = verify(chain, anchors)
            bad = f" first bad entry {verdict.first_bad_seq}:" if verdict.first_bad_seq else ""
            self.stdout.write(
                f"{chain}: {verdict.state.name.lower()}, {verdict.entries} entries, {verdict.anchors} checkpoints, "
                f"{verdict.duration_s:.1f} s{bad} {verdict.why}".rstrip()
            )
            if State.TAMPERED in (worst, verdict.state):
                worst = State.TAMPERED
            elif verdict.state is State.INCOMPLETE:
                worst = State.INCOMPLETE
        if worst is not State.INTACT:
            sys.exit(worst.value)
