"""Is what quotas count what was used?

manage.py quotas check      compares balances with the ledger, and the ledger with sessions' meters
manage.py quotas rebuild    makes the balances anew from the ledger
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from rlmweb.audit.record import record as audit
from rlmweb.quotas.truth import rebuild
from runs.services.quota_truth import check


class Command(BaseCommand):
    help = "Check what quotas count against the ledger and the meters, or rebuild the balances."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["check", "rebuild"])

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        if act == "rebuild":
            self._rebuild()
        found = check(source="cli", actor="system")
        if found:
            raise CommandError(
                "\n".join([*found, f"{len(found)} do not agree. `manage.py quotas rebuild` mends balances."])
            )
        self.stdout.write("Balances, ledger and meters agree.")

    def _rebuild(self) -> None:
        with transaction.atomic():
            rows = rebuild()
            audit(
                "quota.rebuild",
                actor="system",
                object_type="quota",
                object_id="balances",
                source="cli",
                details={"rows": rows},
            )
        self.stdout.write(f"{rows} balances were made anew from the ledger.")
