"""Sessions to export, and archives of them in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runs.access import Actor
from runs.models import Session
from runs.replay.archive.exporting import export_session
from runs.replay.archive.importing import Imported, import_archive
from runs.replay.archive.spooling import Options
from runs.services.sessions import start_session
from tests.factories import make_context, make_team, make_user, scripted_config
from tests.runs.services.inline import run_to_end

TEXT = "alpha\nbeta\ngamma\n" * 500
CELLS = (
    "import random\nx = [1, 2]\nlong = 'word ' * 2000\nprint(long)",
    "found = rlm_query('count the words in this: ' + 'lorem ipsum ' * 300)\nx.append(found)",
    "def double(n):\n    return 2 * n\ny = {'x': x, 'twice': double(21)}\nopen('notes.txt', 'w').write('kept')",
    "z = llm_query('a question of its own')\nraise ValueError(z)",
)


def cell(code: str) -> str:
    return f"```repl\n{code}\n```"


def rules(*cells: str) -> list[dict[str, Any]]:
    """The root runs one cell a step and then answers; a child looks and answers."""
    last = "answer['content'] = repr(x)\nanswer['ready'] = True"
    found = [
        {"when": {"kind": "turn", "depth": 0, "step": number}, "reply": cell(code)}
        for number, code in enumerate((*cells, last), start=1)
    ]
    look = "words = context.split()\nprint(len(words))"
    give = "answer['content'] = str(len(words))\nanswer['ready'] = True"
    return [
        *found,
        {"when": {"kind": "turn", "depth": 1, "step": 1}, "reply": cell(look)},
        {"when": {"kind": "turn", "depth": 1, "step": 2}, "reply": cell(give)},
    ]


def start(*cells: str, text: str = TEXT, **options: Any) -> Session:
    team = make_team()
    return start_session(
        actor=Actor(make_user(team), "test"),
        team=team,
        question="How many?",
        context=make_context(team, text),
        config=scripted_config({"rules": rules(*cells), "default": {"reply": "FOUND"}}, **options),
    )


def make_rich() -> Session:
    """A finished session with a child, a leaf call, an error, long texts, files and snapshots."""
    session = run_to_end(start(*CELLS))
    assert session.status == "finished", session.error_message
    assert session.nodes.count() == 2
    return session


def export_to(path: Path, session: Session, **options: bool) -> Path:
    actor = Actor(session.created_by, "test")
    chunks = export_session(session, Options(**options), actor=actor, installation="there.example")
    with path.open("wb") as file:
        file.writelines(chunks)
    return path


def import_into_new_team(path: Path, **options: Any) -> Imported:
    team = make_team()
    return import_archive(path, actor=Actor(make_user(team), "test"), team=team, **options)
