"""Whole sessions at vendors, each over its own wire: what tests of single faults and the storm of many have in common."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from cryptography.fernet import Fernet
from django.test import override_settings

from rlmweb.bench.outside import log_faults, wait_until
from rlmweb.teams.models import Team
from runs.access import Actor
from runs.engine.limits import Limits
from runs.models import Node, Session, Step
from runs.services.config import SessionConfig
from runs.services.execution import execute_step
from runs.services.sessions import start_session
from sandboxes import services as sandbox_services
from sandboxes.accounts import keeping
from sandboxes.needs import Needs
from sandboxes.registry import create_provider
from sandboxes.vendors import VENDORS
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.test_run_session import ANSWER, log, rules, turn
from tests.wire.faults import Fault, Operation
from tests.wire.rig import Rig, available, open_rig

AT = [name for name in available() if name in VENDORS]
CELLS = ("x = [len(context)]", "x.append(llm_query('a'))", ANSWER.format("x"))
SCRIPT = rules(*(turn(number, cell) for number, cell in enumerate(CELLS, 1)))
RIGHT = "[6, '?']"


@contextmanager
def in_place(rigs: dict[str, Rig]) -> Iterator[None]:
    """The vendors' real clients, set up by their rigs, in place of those made of an account's own options."""
    create = create_provider

    def created(name: str, **options: object) -> object:
        return rigs[name].provider if name in rigs else create(name, **options)

    keys = override_settings(SECRET_KEYS_AT_REST=(Fernet.generate_key().decode(),))
    with keys, mock.patch("sandboxes.accounts.opening.create_provider", created):
        yield


def team_at(*names: str) -> Team:
    team = make_team()
    for name in names:
        values = {each.name: each.example for each in VENDORS[name].fields if each.kind == "text" or each.required}
        keeping.save_account(team, name, values, actor="test", source="test")
    return team


def config_at(name: str, rig: Rig, **fields: object) -> SessionConfig:
    """Needs that the smallest spec of the vendor's rig has."""
    needs = Needs(cpu=rig.spec.cpu, network=rig.spec.network.mode)
    limits = Limits(memory_mb=rig.spec.memory_mb)
    return scripted_config(SCRIPT, provider=name, sandbox=needs, limits=limits, **fields)


def start(team: Team, config: SessionConfig) -> Session:
    context = make_context(team, "alpha\n")
    actor = Actor(make_user(team), "test")
    return start_session(actor=actor, team=team, question="How many?", context=context, config=config)


def nothing_left(rig: Rig) -> None:
    engine = rig.engine
    assert engine is not None
    wait_until("the sandboxes to be ended", lambda: not engine.alive(), 30)


def steps_open(session: Session) -> bool:
    """Is there anything of a session that is over which still waits or runs?"""
    unfinished = Step.objects.filter(session=session, status__in=("ready", "running", "waiting")).exists()
    return unfinished or Node.objects.filter(session=session, status="running").exists()


# Many faults, many sessions -------------------------------------------------------------------------------------------

STORM: tuple[tuple[Operation, Fault], ...] = (
    ("create", Fault(429, retry_after_s=0.1)),
    ("create", Fault(500)),
    ("create", Fault(503)),
    ("create", Fault(401)),
    ("create", Fault(409)),
    ("create", Fault(kind="lose_reply")),
    ("create", Fault(kind="reset")),
    ("create", Fault(kind="malformed")),
    ("get", Fault(500)),
    ("get", Fault(404)),
    ("exec", Fault(503)),
    ("exec", Fault(kind="lose_reply")),
    ("stream", Fault(500)),
    ("stream", Fault(kind="reset")),
    ("stdin", Fault(500)),
    ("read", Fault(503)),
    ("write", Fault(500)),
    ("write", Fault(kind="lose_reply")),
    ("terminate", Fault(500)),
    ("terminate", Fault(kind="lose_reply")),
    ("delete", Fault(500)),
    ("list", Fault(500)),
)
TURNS = ("fault", "fault", "two faults", "no room", "streams break", "input twice", "evicted", "nothing")
SESSION_S, CALM_S = 120.0, 60.0


@dataclass
class Weathered:
    """What a storm left. `wrong`: sessions whose record is not whole, or whose answer is not right."""

    ended: dict[str, int] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sandboxes_left: int = 0
    sandboxes_made: int = 0


def storm(name: str, sessions: int, seed: int) -> Weathered:
    """Sessions at one vendor, each with something that goes wrong, drawn by `seed`. Sandboxes are counted by the vendor's
    server and not by us."""
    found, draw = Weathered(), random.Random(seed)  # which fault it is, is no secret
    with tempfile.TemporaryDirectory(prefix="rlmweb-storm-") as folder, open_rig(name, Path(folder)) as rig:
        engine = rig.engine
        assert engine is not None
        with in_place({name: rig}):
            team = team_at(name)
            for number in range(sessions):
                _weather(rig, team, config_at(name, rig), draw, found, f"{name} {seed}.{number}")
            _calm(rig)
            with suppress(AssertionError):  # what is left is counted
                wait_until("the rounds to end what is left", lambda: _swept(rig), CALM_S)
            found.sandboxes_left = len(engine.alive())
            found.sandboxes_made = engine.created
    return found


def _swept(rig: Rig) -> bool:
    """Another round of the reconciler's: where a vendor has no list, each asks about some only."""
    assert rig.engine is not None
    return sandbox_services.end_unknown(min_age_s=-5.0) == 0 and not rig.engine.alive()


def _weather(rig: Rig, team: Team, config: SessionConfig, draw: random.Random, found: Weathered, what: str) -> None:
    turn = draw.choice(TURNS)
    what = f"{what} {turn}{_set(rig, turn, draw)}"
    session = start(team, config)
    try:
        wait_until("the session to end", lambda: _go_on(rig, session, turn, draw), SESSION_S)
    except AssertionError:
        found.stuck.append(what)
        return
    finally:
        _calm(rig)
    session.refresh_from_db()
    found.ended[session.status] = found.ended.get(session.status, 0) + 1
    if steps_open(session):
        found.stuck.append(what)
    faults = log_faults(log(session))
    if faults or (session.answer != RIGHT if session.status == "finished" else not session.error_message):
        found.wrong.append(f"{what}: {session.status} {session.answer!r} {'; '.join(faults)}")


def _set(rig: Rig, turn: str, draw: random.Random) -> str:
    assert rig.faults is not None
    said = ""
    for _ in range({"fault": 1, "two faults": 2}.get(turn, 0)):
        operation, fault = draw.choice(STORM)
        rig.faults.add(operation, fault)
        said += f" ({operation} {fault.kind if fault.kind != 'status' else fault.status})"
    rig.faults.no_capacity = turn == "no room"
    rig.faults.replay_stdin = turn == "input twice"
    return said


def _go_on(rig: Rig, session: Session, turn: str, draw: random.Random) -> bool:
    """Execute what is ready, as one slot of a worker does; True when the session is over."""
    assert rig.faults is not None
    assert rig.engine is not None
    for uuid in Step.objects.filter(status=Step.Status.READY).order_by("pk").values_list("uuid", flat=True):
        execute_step(uuid)
        if turn == "streams break":
            rig.faults.drop_streams()
        rig.faults.no_capacity &= draw.random() < 0.7  # sooner or later there is room
        if turn == "evicted" and draw.random() < 0.5:
            for box in rig.engine.alive():
                rig.engine.terminate(box.id)
    session.refresh_from_db()
    return session.status != Session.Status.RUNNING


def _calm(rig: Rig) -> None:
    assert rig.faults is not None
    rig.faults._queued.clear()
    rig.faults.no_capacity = rig.faults.replay_stdin = False
