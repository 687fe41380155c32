"""`manage.py first_session`: the session that a new installation opens on, and the first real one."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from runs.lm.embedded import status
from runs.models import Session
from runs.services.contexts import ContextError
from runs.services.first_session import start_first_real_session, start_first_session

STARTING_S = 8.0
"""How long the model process may take to say how it is."""
LOADING_S = 60.0
DOWNLOAD_S = 2 * 3600.0
POLL_S = 0.5


class Command(BaseCommand):
    help = (
        "Start a first session if there is none: on the local model when it is ready, else the scripted tour; and"
        " the first one on the local model as soon as its weights are there."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-model", action="store_true", help="the local model does not run; do not wait for it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if not options["no_model"] and not Session.objects.exists():
                self._wait_while_loading()
            self._say(start_first_session())
            if not options["no_model"] and _wait_for({"ready"}, DOWNLOAD_S):
                self._say(start_first_real_session())
        except ContextError as error:
            raise CommandError(str(error)) from error

    def _wait_while_loading(self) -> None:
        """Weights that are there load in seconds: worth waiting for. A download is not."""
        if _wait_for({"loading", "ready", "downloading", "failed"}, STARTING_S) == "loading":
            _wait_for({"ready", "failed"}, LOADING_S)

    def _say(self, session: Session | None) -> None:
        if session is not None:
            self.stdout.write(f"Started {session.uuid}: {session.title}")


def _wait_for(states: set[str], timeout_s: float) -> str:
    """The first of `states` that the local model gets into; empty when it gets into none in time."""
    deadline = time.monotonic() + timeout_s
    connection.close()  # it may be a long wait
    while (state := str(status()["state"])) not in states:
        if time.monotonic() > deadline:
            return ""
        time.sleep(POLL_S)
    return state
