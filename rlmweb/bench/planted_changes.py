"""One change in a recorded session, by which it must be found to differ: in its code before it runs, or in its record
afterwards. Records are changed from outside, in the database.

A plant names the kind of cell that it needs; the change is in the step of that cell.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from rlmweb.bench.outside import Outside
from rlmweb.bench.recorded_sessions import Sketch

ANY = "any"
PLANTED = "planted"


@dataclass(frozen=True)
class Place:
    """A step of the root of a session that is over."""

    outside: Outside
    session: str
    step: int

    def step_id(self) -> int:
        [(id_,)] = self.outside.rows(
            "SELECT p.id FROM runs_step p JOIN runs_node n ON p.node_id = n.id JOIN runs_session s ON n.session_id = s.id"
            " WHERE s.uuid::text = %s AND n.number = 0 AND p.number = %s",
            self.session,
            self.step,
        )
        return int(id_)

    def change(self, sql: str, *values: object) -> None:
        with self.outside.connect() as connection:
            changed = connection.execute(sql.encode(), values).rowcount
        if changed < 1:
            raise LookupError(f"nothing to change at step {self.step} of {self.session}: {sql}")

    def cell(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The state of the step and its first cell, which is part of it."""
        [(state,)] = self.outside.rows("SELECT state FROM runs_step WHERE id = %s", self.step_id())
        return state, state["cells"][0]

    def save(self, state: dict[str, Any]) -> None:
        self.change("UPDATE runs_step SET state = %s WHERE id = %s", Jsonb(state), self.step_id())


@dataclass(frozen=True)
class Plant:
    """`code` is put behind the code of the step before the session starts; `record` changes what is on record of it."""

    name: str
    cell: str = ANY
    code: str = ""
    record: Callable[[Place], None] | None = None

    def step(self, made: Sketch, draw: random.Random) -> int:
        """Where it is planted."""
        if self.cell != ANY:
            return made.step_of(self.cell)
        # Code behind one that raises does not run.
        return draw.choice([number for number, kind in enumerate(made.kinds[:-1], start=1) if kind != "raised"])

    def into_code(self, made: Sketch, step: int) -> None:
        made.cells[step - 1] += self.code


# Changes of the record ------------------------------------------------------------------------------------------------


def _code(addition: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        state, cell = place.cell()
        cell["code"] += addition
        place.save(state)

    return change


def _cell_field(name: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        state, cell = place.cell()
        if not cell[name]:
            raise LookupError(f"the cell of step {place.step} of {place.session} has no {name}")
        cell[name] += PLANTED
        place.save(state)

    return change


def _output(stream: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        rows = place.outside.rows(
            "SELECT e.id, e.data FROM runs_event e JOIN runs_session s ON e.session_id = s.id"
            " WHERE s.uuid::text = %s AND e.type = 'cell.output' AND e.node = 0 ORDER BY e.seq",
            place.session,
        )
        events = [(id_, json.loads(data)) for id_, data in rows]
        id_, event = next(each for each in events if (each[1]["step"], each[1]["stream"]) == (place.step, stream))
        event["text"] = PLANTED + event["text"]
        place.change("UPDATE runs_event SET data = %s WHERE id = %s", json.dumps(event), id_)

    return change


def _call(column: str, value: str) -> Callable[[Place], None]:
    """Of one recorded sub-call."""

    def change(place: Place) -> None:
        first = "(SELECT min(id) FROM runs_lmcall WHERE step_id = %s AND kind = 'leaf')"
        sql = "UPDATE runs_lmcall SET " + column + " = %s WHERE id = " + first  # noqa: S608  # columns named below
        place.change(sql, value, place.step_id())

    return change


def _child_answer(place: Place) -> None:
    """The child answers with its own prompt."""
    place.change("UPDATE runs_node SET answer_sha256 = prompt_sha256 WHERE parent_step_id = %s", place.step_id())


def _state(place: Place) -> None:
    """The snapshot of the step holds the state of another step."""
    other = place.step - 1 if place.step > 1 else place.step + 1
    place.change(
        "UPDATE sandboxes_snapshot x SET manifest_sha256 = y.manifest_sha256 FROM sandboxes_snapshot y"
        " WHERE x.node_uuid = y.node_uuid AND x.session_uuid::text = %s AND x.step_number = %s AND y.step_number = %s"
        " AND x.node_uuid = (SELECT n.uuid FROM runs_node n JOIN runs_session s ON n.session_id = s.id"
        " WHERE s.uuid = x.session_uuid AND n.number = 0)",
        *(place.session, place.step, other),
    )


def _context(place: Place) -> None:
    """The session has another context than the one it ran with."""
    place.change(
        "UPDATE runs_session SET context_id = (SELECT min(c.id) FROM runs_context c WHERE c.name = %s)"
        " WHERE uuid::text = %s",
        *(f"{PLANTED}.txt", place.session),
    )


PLANTS = (
    Plant("code that prints", record=_code("\nprint('planted')")),
    Plant("code that sets a variable", record=_code("\nplanted = 1")),
    Plant("code that changes nothing", record=_code("  # planted")),
    Plant("output", record=_output("stdout")),
    Plant("output to stderr", "stderr", record=_output("stderr")),
    Plant("error", "raised", record=_cell_field("error_message")),
    Plant("answer", "answer", record=_cell_field("final")),
    Plant("reply", "question", record=_call("reply", PLANTED)),
    Plant("reply in a batch", "batch", record=_call("reply", PLANTED)),
    Plant("reply to a thread", "threads", record=_call("reply", PLANTED)),
    Plant("request", "question", record=_call("request_sha256", "0" * 64)),
    Plant("lost reply", "batch", record=_call("status", "abandoned")),
    Plant("answer of a child", "child", record=_child_answer),
    Plant("state", record=_state),
    Plant("context", "opening", record=_context),
    Plant("clock in a variable", code="\nimport time\nstamp = time.time()"),
    Plant("clock in the output", code="\nimport datetime\nprint(datetime.datetime.now())"),
    Plant("random variable", code="\nimport random as dice\ndrawn = [dice.SystemRandom().random()]"),
    Plant("random output", code="\nimport os\nprint(os.urandom(8).hex())"),
    Plant("random file", code="\nimport secrets\nopen('drawn.txt', 'w').write(secrets.token_hex())"),
    Plant("random prompt", code="\nimport uuid\nasked = llm_query(f'who is {uuid.uuid4()}?') is None"),
    Plant("random error", code="\nimport secrets\nraise KeyError(secrets.token_hex(8))"),
    Plant(
        "random inside an object", code="\nimport uuid\nclass Box: pass\nbox = Box()\nbox.inner = {'id': uuid.uuid4()}"
    ),
    Plant("random answer", "answer", code="\nimport secrets\nanswer['content'] = secrets.token_hex(8)"),
    Plant("identity", code="\nmarker = id(object()) ^ id(object) ^ id([])"),
)
