"""`manage.py export_session`: a session as one file, to keep or to take to another installation."""

from __future__ import annotations

import os
import platform
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.http import Http404

from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import actor_of, session_for
from runs.management.people import user_named
from runs.replay.archive.errors import ArchiveError
from runs.replay.archive.exporting import export_session
from runs.replay.archive.spooling import Options
from runs.replay.archive.writing import archive_name
from runs.services.config import InvalidConfig
from runs.text import scrub

USAGE = 2


class Command(BaseCommand):
    help = "Write a session with its events, conversations, contents and snapshots to one file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("session", help="uuid of the session")
        parser.add_argument("--output", default="", help="file to write, or - (default: session-UUID.rlmweb.tar)")
        parser.add_argument("--without-snapshots", action="store_true", help="it can be read there, not forked")
        parser.add_argument("--without-context", action="store_true", help="leaves out the snapshots, too")
        parser.add_argument("--reason", default="", help="why, where the policy of the organisation asks for it")
        parser.add_argument("--user", default="", help="who exports it, where the installation has many users")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = user_named(options["user"])
            session = session_for(user, options["session"])
        except InvalidConfig as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except Http404:
            raise CommandError(f"There is no session {options['session']!r} for you.", returncode=USAGE) from None
        chosen = Options(context=not options["without_context"], snapshots=not options["without_snapshots"])
        actor, reason = actor_of(user, "cli"), scrub(options["reason"])
        try:
            chunks = export_session(session, chosen, actor=actor, installation=platform.node(), reason=reason)
        except PolicyRefused as error:
            raise CommandError(str(error), returncode=USAGE) from error
        try:
            if options["output"] == "-":
                for chunk in chunks:
                    sys.stdout.buffer.write(chunk)
                return
            target = Path(options["output"] or archive_name(session))
            _write(chunks, target)
        except (ArchiveError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"{target}: {target.stat().st_size:,} bytes")


def _write(chunks: Iterator[bytes], target: Path) -> None:
    """Under its name there is a whole archive, or what was there before."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with unfinished.open("xb") as file:
            file.writelines(chunks)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
