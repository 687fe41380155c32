"""`manage.py audit_export`: one chain of the audit log, to the standard output."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand

from rlmweb.audit.export import FORMS, exported
from rlmweb.audit.models import INSTANCE_CHAIN
from rlmweb.audit.record import record


class Command(BaseCommand):
    help = "Write one chain of the audit log as JSON lines, CSV, CEF or OCSF."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--chain", type=UUID, default=INSTANCE_CHAIN, help="uuid of a team; without: the installation"
        )
        parser.add_argument("--form", choices=sorted(FORMS), default="jsonl")

    def handle(self, *args: Any, **options: Any) -> None:
        chain = options["chain"]
        record(
            "audit.export",
            actor="system",
            object_type="chain",
            object_id=chain,
            team_uuid=None if chain == INSTANCE_CHAIN else chain,
            source="cli",
            details={"form": options["form"]},
        )
        for line in exported(chain, options["form"]):
            self.stdout.write(line, ending="")
