"""`manage.py run_session`: start a session and watch its tree grow in the terminal."""

from __future__ import annotations

import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.http import Http404

from rlmweb.teams.models import Team
from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import Actor, actor_of, credentials_of, team_for
from runs.blobs import CHUNK_BYTES
from runs.engine.limits import Limits
from runs.management.people import user_named
from runs.models import Context, LmCredential, Session
from runs.services.choices import EMBEDDED, KEY, SCRIPTED, model_named
from runs.services.config import Determinism, InvalidConfig, ModelConfig, SessionConfig
from runs.services.config_check import check_config
from runs.services.contexts import ContextError, context_from_chunks, context_from_example, context_from_file
from runs.services.sessions import start_session, stop_session
from runs.terminal.follow import batches, waits_for_a_worker
from runs.terminal.show import View, view_for
from runs.text import scrub

EXIT_CODES = {"finished": 0, "failed": 1, "limited": 3, "stopped": 4}
USAGE = 2
INTERRUPTED = 130
MODEL_HELP = "embedded, scripted:NAME, or KEY/MODEL with the name of one of your team's keys (default: embedded)"


class Command(BaseCommand):
    help = "Start a session and show its tree. Ctrl-C stops the session. Needs a running `manage.py up`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--question", default="", help="what to find out; an example has its own")
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--context", type=Path, help="file to work on (default: standard input)")
        source.add_argument("--example", metavar="SLUG", help="an example task instead of a context")
        parser.add_argument("--seed", type=int, default=1, help="seed of the example")
        parser.add_argument("--size", type=int, metavar="BYTES", help="size of the example's context")
        parser.add_argument("--kind", choices=Context.Kind.values, default="", help="how the code sees the context")
        parser.add_argument("--model", default=EMBEDDED, help=MODEL_HELP)
        parser.add_argument("--sub-model", default="", help="model of the calls that code makes (default: the same)")
        parser.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE", help="e.g. max_cost_usd=0.5")
        parser.add_argument("--tier", default="", help="isolation of the sandboxes (default: the strongest)")
        parser.add_argument(
            "--clock", metavar="TIME", help="freeze the sandboxes' clocks at this Unix time, or at `now`"
        )
        parser.add_argument("--random-seed", type=int, metavar="N", help="seed of what the code draws at random")
        parser.add_argument("--title", default="")
        parser.add_argument("--user", default="", help="who starts it, where the installation has many users")
        parser.add_argument("--json", action="store_true", help="print the events as JSON lines")
        parser.add_argument("--detach", action="store_true", help="print the session's id and do not wait")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            session, actor = self._start(options)
        except (ContextError, InvalidConfig, PolicyRefused) as error:
            raise CommandError(str(error), returncode=USAGE) from error
        if options["detach"]:
            self.stdout.write(str(session.uuid))
            return
        self.stderr.write(f"Session {session.uuid}")
        view = view_for(sys.stdout, as_json=options["json"])
        code = self._watch(session, actor, view)
        if code:
            sys.exit(code)

    def _start(self, options: dict[str, Any]) -> tuple[Session, Actor]:
        user = user_named(options["user"])
        actor, team = actor_of(user, "cli"), _team(user)
        credentials = list(credentials_of(user).filter(team=team))
        config = SessionConfig(
            root=_model(options["model"], credentials),
            sub=_model(options["sub_model"], credentials) if options["sub_model"] else None,
            limits=_limits(options["limit"]),
            tier=options["tier"],
            determinism=_determinism(options["clock"], options["random_seed"]),
        )
        check_config(config, credentials)
        context, question, tag = _material(options, actor, team)
        if not question.strip():
            raise InvalidConfig("Ask something: --question.")
        config = msgspec.structs.replace(config, example=tag)
        session = start_session(
            actor=actor,
            team=team,
            question=question,
            context=context,
            config=config,
            title=scrub(options["title"])[:200],
        )
        return session, actor

    def _watch(self, session: Session, actor: Actor, view: View) -> int:
        """Show it until its end; the exit status."""
        told = False
        with _interrupts() as (asked, wake):
            try:
                for lines in batches(session, wake):
                    if len(asked) == 1:
                        self.stderr.write("Stopping the session. Ctrl-C again leaves it as it is.")
                        asked.append("told")
                        stop_session(session, actor=actor)
                    if len(asked) > 2:
                        return INTERRUPTED
                    view.take(lines)
                    if not told and waits_for_a_worker(session):
                        told = True
                        self.stderr.write("No worker has taken the session yet. Is `manage.py up` running?")
            finally:
                view.close()
        session.refresh_from_db(fields=["status"])
        return EXIT_CODES[session.status]


@contextmanager
def _interrupts() -> Iterator[tuple[list[str], threading.Event]]:
    """Ctrl-C as a list that grows, so that it never breaks into a transaction, and an event that ends a pause."""
    asked: list[str] = []
    wake = threading.Event()

    def note(*_: object) -> None:
        asked.append("signal")
        wake.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked, wake
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked, wake
    finally:
        signal.signal(signal.SIGINT, before)


def _team(user: Any) -> Team:
    try:
        return team_for(user)
    except Http404:
        raise InvalidConfig(f"{user.get_username()} may start sessions in no team.") from None


def _model(text: str, credentials: list[LmCredential]) -> ModelConfig:
    if text == EMBEDDED or text.startswith(SCRIPTED):
        return model_named(text, "", credentials)
    name, _, model = text.partition("/")
    for credential in credentials:
        if credential.name == name:
            return model_named(f"{KEY}{credential.uuid}", model, credentials)
    known = ", ".join(f"{credential.name}/MODEL" for credential in credentials) or "none: add one on the page Keys"
    raise InvalidConfig(f"There is no model {text!r}. Choose embedded, scripted:NAME or a key: {known}.")


def _limits(pairs: list[str]) -> Limits:
    """`name=value`; `name=none` for no limit."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found or name not in Limits.__struct_fields__:
            known = ", ".join(Limits.__struct_fields__)
            raise InvalidConfig(f"--limit {pair}: write NAME=VALUE with one of {known}.")
        values[name] = None if value.lower() == "none" else value
    try:
        return msgspec.convert(values, Limits, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"--limit: {error}") from error


def _determinism(clock: str | None, seed: int | None) -> Determinism:
    now = float(int(time.time()))
    plain = {"clock": now if clock == "now" else clock, "seed": seed}
    try:
        return msgspec.convert(plain, Determinism, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"--clock or --random-seed: {error}") from error


def _material(options: dict[str, Any], actor: Actor, team: Team) -> tuple[Context, str, str]:
    """The context, the question, and the tag of an example. Raises `ContextError`."""
    question, kind = scrub(options["question"]), options["kind"]
    if options["example"]:
        context, built = context_from_example(
            options["example"], actor=actor, team=team, seed=options["seed"], size_bytes=options["size"]
        )
        return context, question or built.question, "" if question else built.tag
    if options["context"] is not None:
        path: Path = options["context"]
        try:
            context = context_from_file(path, actor=actor, team=team, name=path.name, source="path", kind=kind)
        except OSError as error:
            raise ContextError(f"{path} cannot be read: {error.strerror}.") from error
        return context, question, ""
    if sys.stdin.isatty():
        raise ContextError("Give a context: --context FILE, --example SLUG, or a text on standard input.")
    chunks = iter(lambda: sys.stdin.buffer.read(CHUNK_BYTES), b"")
    context = context_from_chunks(chunks, actor=actor, team=team, name="standard input", source="paste", kind=kind)
    return context, question, ""
