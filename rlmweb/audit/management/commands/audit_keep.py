"""`manage.py audit_keep`: what of the audit log goes, what stays whatever happens, and whom it forgets."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rlmweb.audit.models import AuditEntry, AuditSubject, LegalHold
from rlmweb.audit.retention import Held, erase, place_hold, purge, purgeable, release_hold
from rlmweb.audit.standalone import Unreadable
from rlmweb.teams.policies.enforcing import PolicyRefused


class Command(BaseCommand):
    help = "Purge old entries, place and release legal holds, and erase a person. Each act is itself recorded."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        going = commands.add_parser("purge", help="let sealed entries go that are past their days")
        going.add_argument("--chain", type=UUID, help="only this chain, by its uuid")
        going.add_argument("--days", type=int, help="in place of RLMWEB_AUDIT_DAYS")
        going.add_argument("--dry-run", action="store_true", help="say what would go")
        holding = commands.add_parser("hold", help="nothing of a chain is purged, or nobody forgets a person")
        about = holding.add_mutually_exclusive_group(required=True)
        about.add_argument("--chain", type=UUID)
        about.add_argument("--person", help="by the name that the log shows")
        holding.add_argument("--reason", required=True)
        commands.add_parser("holds", help="those that stand")
        letting = commands.add_parser("release", help="end a hold")
        letting.add_argument("hold", type=UUID)
        letting.add_argument("--reason", required=True)
        erasing = commands.add_parser("erase", help="destroy a person's key: who it was cannot be read any more")
        erasing.add_argument("person", help="by the name that the log shows")
        erasing.add_argument("--reason", required=True)
        for each in (going, holding, letting, erasing):
            each.add_argument("--actor", required=True, help="who does this, for the log")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['command']}")(options)
        except (Held, PolicyRefused, Unreadable) as error:
            raise CommandError(str(error)) from error

    def _purge(self, options: dict[str, Any]) -> None:
        chains = (
            [options["chain"]] if options["chain"] else AuditEntry.objects.values_list("chain", flat=True).distinct()
        )
        if options["days"] is not None and options["days"] < 1:
            raise CommandError("--days: at least 1.")
        before = timezone.now() - timedelta(days=options["days"]) if options["days"] else None
        for chain in chains:
            if options["dry_run"]:
                found = purgeable(chain, before)
                said = f"{found.first.seq} to {found.last.seq} would go" if found else "nothing would go"
            else:
                gone = purge(chain, actor=options["actor"], before=before)
                said = f"{gone.first_seq} to {gone.last_seq} are gone" if gone else "nothing is old enough"
            self.stdout.write(f"{chain}: {said}")

    def _hold(self, options: dict[str, Any]) -> None:
        subject = self._person(options["person"]).uuid if options["person"] else None
        hold = place_hold(
            actor=options["actor"], reason=options["reason"], chain=options["chain"], subject_uuid=subject
        )
        self.stdout.write(f"{hold.uuid}")

    def _holds(self, options: dict[str, Any]) -> None:
        for hold in LegalHold.objects.filter(released_at__isnull=True).order_by("placed_at"):
            about = f"chain {hold.chain}" if hold.chain else f"person {hold.subject_uuid}"
            self.stdout.write(f"{hold.uuid}  {hold.placed_at:%Y-%m-%d}  {about}  {hold.reason}")

    def _release(self, options: dict[str, Any]) -> None:
        hold = LegalHold.objects.filter(uuid=options["hold"], released_at__isnull=True).first()
        if hold is None:
            raise CommandError(f"There is no hold {options['hold']} that stands.")
        release_hold(hold, actor=options["actor"], reason=options["reason"])
        self.stdout.write(f"{hold.uuid}: released")

    def _erase(self, options: dict[str, Any]) -> None:
        erase(self._person(options["person"]), actor=options["actor"], reason=options["reason"])
        self.stdout.write(f"{options['person']}: erased")

    def _person(self, name: str) -> AuditSubject:
        found = AuditSubject.objects.filter(name=name, erased_at__isnull=True).first()
        if found is None:
            raise CommandError(f"The log knows nobody called {name!r}.")
        return found
