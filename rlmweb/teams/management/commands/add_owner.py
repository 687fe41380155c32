"""`manage.py add_owner NAME`: the first owner of an organisation, by who has the shell."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from rlmweb.audit.record import Particulars, record
from rlmweb.teams.models import Membership, Organisation, OrganisationMembership, Role
from rlmweb.teams.services import DEFAULT_ORGANISATION, ensure_default_team


class Command(BaseCommand):
    help = "Make an account the owner of an organisation, which is made if it is not there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the account, made before by createsuperuser or a sign-up")
        parser.add_argument("--organisation", default=DEFAULT_ORGANISATION, help="its short name")
        parser.add_argument("--lead", action="store_true", help="and lead of all its teams, to run sessions as well")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["name"]).first()
        if user is None:
            raise CommandError(f"There is no account {options['name']}. Make one with createsuperuser.")
        ensure_default_team()
        slug = options["organisation"]
        organisation, made = Organisation.objects.get_or_create(slug=slug, defaults={"name": slug})
        OrganisationMembership.objects.update_or_create(
            organisation=organisation, user=user, defaults={"role": Role.OWNER}
        )
        for team in organisation.teams.all() if options["lead"] else ():
            Membership.objects.update_or_create(team=team, user=user, defaults={"role": Role.LEAD})
        record(
            "role.give",
            actor="system",
            object_type="user",
            object_id=str(user.pk),
            team_uuid=organisation.uuid,
            source="cli",
            particulars=Particulars(changes={"role": ["", Role.OWNER.value]}),
            details={"lead": options["lead"]},
        )
        said = f"made {organisation}; " if made else ""
        self.stdout.write(
            f"{said}{user} is owner of {organisation}{', and lead of its teams' if options['lead'] else ''}"
        )
