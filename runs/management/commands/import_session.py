"""`manage.py import_session`: make a session of an archive that was exported here or elsewhere."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.http import Http404

from rlmweb.teams.models import Team
from runs.access import actor_of, team_for, teams_to_start_in
from runs.management.people import user_named
from runs.replay.archive.errors import ArchiveError
from runs.replay.archive.importing import import_archive
from runs.services.config import InvalidConfig

USAGE = 2


class Command(BaseCommand):
    help = "Check an archive in full and make a session of it. Prints the uuid of the session."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--team", default="", help="short name of the team (default: your first)")
        parser.add_argument("--again", action="store_true", help="even if the team has a session of this archive")
        parser.add_argument("--user", default="", help="who imports it, where the installation has many users")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = user_named(options["user"])
            team = _team(user, options["team"])
        except InvalidConfig as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except Http404:
            raise CommandError("There is no team in which you may start sessions.", returncode=USAGE) from None
        try:
            imported = import_archive(
                options["file"], actor=actor_of(user, "cli"), team=team, again=options["again"], watch=self._tell()
            )
        except (ArchiveError, OSError) as error:
            raise CommandError(str(error)) from error
        if not imported.created:
            self.stderr.write("This archive was imported before; with --again it is imported once more.")
        self.stdout.write(str(imported.session.uuid))

    def _tell(self) -> Any:
        told = -1

        def watch(done: int, total: int, text: str) -> None:
            nonlocal told
            if done != told:
                told = done
                self.stderr.write(f"{done + 1} of {total}: {text}")

        return watch


def _team(user: User, slug: str) -> Team:
    """Raises `Http404`."""
    if not slug:
        return team_for(user)
    team = teams_to_start_in(user).filter(slug=slug).first()
    if team is None:
        raise Http404
    return team
