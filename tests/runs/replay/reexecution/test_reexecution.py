"""Re-execution: identical where the code is deterministic, the first divergence and its cause where it is not."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from runs.access import Actor
from runs.engine.limits import Limits
from runs.models import Event, Job, LmCall, Session, Step
from runs.replay.reexecution import running  # noqa: F401  # registers the kind of job
from runs.replay.reexecution.running import CannotReexecute, start_reexecution
from runs.services.config import Determinism, config_from_plain, config_to_plain
from runs.services.jobs import run_job
from sandboxes.models import SandboxRecord
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


def reexecute(session: Session, **options: Any) -> dict[str, Any]:
    job = start_reexecution(actor=Actor(session.created_by, "test"), session=session, **options)
    run_job(job.uuid)
    job.refresh_from_db()
    assert job.status == Job.Status.FINISHED, job.error_message
    result: dict[str, Any] = job.result
    return result


def made_session(seed: int) -> Session:
    """A deterministic session of three to five steps, drawn by `seed`."""
    draw = random.Random(seed)
    pool = [
        "data = context.split()\nprint(len(data))",
        "counts = {}\nfor word in data: counts[word] = counts.get(word, 0) + 1\nprint(sorted(counts.items()))",
        "unique = sorted(set(data))\nprint(unique)",
        "reply = llm_query('about ' + data[0])\nprint(reply)",
        "replies = llm_query_batched([f'part {n}' for n in range(3)])\nprint(len(replies))",
        f"table = [[i * j for j in range({draw.randrange(2, 9)})] for i in range({draw.randrange(2, 9)})]\nprint(table)",
        "def twice(value): return value * 2\nprint(twice(21))",
        "class Item:\n    def __init__(self, n): self.n = n\nitems = [Item(n) for n in range(5)]\nprint(len(items))",
        f"nested = {{'a': [1, {{'b': {draw.randrange(100)}}}]}}\nalias = nested['a']\nalias.append('x')\nprint(nested)",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    print('caught', error)",
    ]
    chosen = [pool[0], *draw.sample(pool[1:], draw.randrange(2, 5))]
    return run_cells(*chosen, text="alpha beta gamma alpha\n" * draw.randrange(5, 50))


@pytest.mark.parametrize("seed", range(12))
def test_a_deterministic_session_is_identical(seed: int) -> None:
    session = made_session(seed)
    calls = LmCall.objects.count()
    result = reexecute(session)
    assert result["verdict"] == "identical", result
    assert result["steps_identical"] == result["steps_executed"] == Step.objects.filter(node__session=session).count()
    assert all(step.get("compared_variables", True) for step in result["steps"])
    assert LmCall.objects.count() == calls
    assert not SandboxRecord.objects.filter(state="running").exists()


PLANTED = ("code", "output", "reply", "variable")


@pytest.mark.parametrize("seed", range(12))
def test_one_planted_change_is_found_at_its_step(seed: int) -> None:
    draw = random.Random(1000 + seed)
    session = run_cells(
        "x = 1\nprint(x)", "x = llm_query('q')\nprint(x)", "y = [x] * 3\nprint(y)", "z = len(y)\nprint(z)"
    )
    what = PLANTED[seed % len(PLANTED)]
    number = 2 if what == "reply" else draw.randrange(1, 5)
    step = Step.objects.get(node__session=session, number=number)
    if what == "code":
        step.state["cells"][0]["code"] += "\nprint('planted')"
        step.save()
    elif what == "variable":
        step.state["cells"][0]["code"] += "\nplanted = 1"
        step.save()
    elif what == "reply":
        LmCall.objects.filter(step=step, kind="leaf").update(reply="PLANTED")
    else:
        event = Event.objects.filter(session=session, type="cell.output", data__contains=f'"step":{number},').get()
        Event.objects.filter(pk=event.pk).update(data=event.data.replace('"text":"', '"text":"planted '))
    result = reexecute(session)
    assert result["verdict"] == "diverged"
    assert (result["first"]["node"], result["first"]["step"]) == (0, number)


@pytest.mark.parametrize(
    ("code", "cause", "options"),
    [
        ("import time\nprint(time.time())", "time", {"freeze_time": True}),
        ("import random\nprint(random.random())", "randomness", {"seed": 7}),
    ],
)
def test_the_likely_cause_is_named(code: str, cause: str, options: dict[str, Any]) -> None:
    session = run_cells("x = 1", code)
    result = reexecute(session)
    assert result["first"]["step"] == 2
    assert result["first"]["cause"].startswith(cause)
    # Fixed clocks and chance make the execution repeat itself, though not what was recorded without them.
    outputs = [reexecute(session, **options)["steps"][1]["findings"][0]["now"] for _ in range(2)]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("helper", "code", "cause"),
    [
        ("import time\ndef f(): return time.time()", "x = f()", "time"),
        ("import secrets\ndef f(): return secrets.token_hex()", "print(f())", "randomness"),
        ("import time, secrets\ndef f(): return time.time(), secrets.token_hex()", "x = [f()]", "time and randomness"),
        ("import random\ndef f(): return random.random()", "x = f()", "hidden state"),
        ("def f(): return f'{id(open)}'", "hash(f())\nx = f()", "order or identity"),
    ],
)
def test_a_cause_that_the_code_does_not_show_is_found_by_trying(helper: str, code: str, cause: str) -> None:
    first = reexecute(run_cells(helper, code))["first"]
    assert (first["step"], first["cause"].partition(":")[0]) == (2, cause)


def test_code_that_repeats_itself_is_told_from_a_changed_record() -> None:
    session = run_cells("x = 1", "y = 2\nprint(y)")
    event = Event.objects.get(session=session, type="cell.output", data__contains='"step":2,')
    Event.objects.filter(pk=event.pk).update(data=event.data.replace('"text":"', '"text":"planted '))
    assert reexecute(session)["first"]["cause"].startswith("changed: the code repeats itself")


def test_addresses_in_output_do_not_count_and_are_mentioned() -> None:
    session = run_cells("class A: pass\nprint(object())\nkept = 1")
    result = reexecute(session)
    assert result["verdict"] == "identical", result
    assert result["addresses"] is True


def test_a_sub_call_that_was_not_recorded_is_named() -> None:
    session = run_cells("x = llm_query('first')")
    LmCall.objects.filter(session=session, kind="leaf").delete()
    result = reexecute(session)
    assert result["first"]["cause"].startswith("sub-call not recorded")


def test_a_journal_that_contradicts_the_log_is_said_even_where_nothing_else_differs() -> None:
    session = run_cells("x = 1", "y = 2", "import time\nz = time.time()")
    step = Step.objects.get(node__session=session, number=2)
    step.state["cells"][0]["code"] += "  # the same"
    step.save()
    result = reexecute(session)
    assert result["first"]["what"] == "record"
    assert (result["first"]["step"], result["first"]["cause"][:12]) == (2, "changed code")
    assert result["steps"][2]["cause"].startswith("time: ")  # the state was the recorded one until then
    assert result["steps_identical"] == 1


def test_what_follows_from_an_earlier_difference_is_told_from_the_first() -> None:
    session = run_cells("import random\nx = random.random()", "y = x", "z = 1")
    result = reexecute(session)
    assert result["first"] == {
        "node": 0,
        "step": 1,
        "cell": 0,
        "what": "variable",
        "name": "x",
        "cause": result["first"]["cause"],
    }
    assert result["first"]["cause"].startswith("randomness")
    assert result["steps"][1]["cause"] == "follows: step 1 had differed already"
    assert result["steps_identical"] == 0


def test_files_of_the_workspace_are_compared_by_content() -> None:
    session = run_cells(
        "import os, random\nos.makedirs('notes')\nopen('notes/same.txt', 'w').write('one')",
        "written = open('notes/drawn.txt', 'w').write(f'{random.random():.6f}')",
    )
    result = reexecute(session)
    assert (result["first"]["step"], result["first"]["what"], result["first"]["name"]) == (2, "file", "notes/drawn.txt")
    assert len(result["steps"][1]["findings"]) == 1


def test_equal_values_in_another_form_do_not_count() -> None:
    session = run_cells("x = {key: [1, 2] for key in 'ab'}")
    step = Step.objects.get(node__session=session, number=1)
    step.state["cells"][0]["code"] = step.state["cells"][0]["code"].replace("'ab'", "'ba'")
    step.save()
    event = Event.objects.get(session=session, type="cell.started", data__contains="'ab'")
    Event.objects.filter(pk=event.pk).update(data=event.data.replace("'ab'", "'ba'"))
    result = reexecute(session)
    assert result["verdict"] == "identical", result
    assert result["steps"][0]["notes"] == ["the form of values that are equal, as the order in a dictionary"]


def test_a_changed_value_is_shown_by_its_elements() -> None:
    session = run_cells("import random\nx = {'kept': [1], 'drawn': [0, random.random()]}")
    finding = reexecute(session)["steps"][0]["findings"][0]
    assert finding["name"] == "x"
    [change] = finding["changes"]
    assert "drawn" in change
    assert "→" in change


def test_what_the_database_cannot_hold_is_replaced_and_long_texts_are_cut() -> None:
    code = "import random\nrows = [f'\\x00 \\ud800 {n} {random.random()} ' + 'long ' * 900 for n in range(500)]"
    result = reexecute(run_cells(f"{code}\ntext = '\\n'.join(rows)\nkeyed = {{'\\x00': text, 'n': random.random()}}"))
    findings = {each["name"]: each for each in result["steps"][0]["findings"]}
    assert set(findings) == {"rows", "text", "keyed"}
    assert "\x00" not in json.dumps(result, ensure_ascii=False)
    for finding in findings.values():
        assert len(finding["recorded"]) < 3_000
        assert finding["changes"]
        assert sum(map(len, finding["changes"])) < 100_000


def test_a_cell_that_ran_into_its_time_limit_is_followed_from_its_snapshot() -> None:
    limits = Limits(cell_timeout_s=2.0)
    session = run_cells("n = 0\nprint('begun')\nwhile True: n += 1", "print(n)\nm = n", limits=limits)
    result = reexecute(session)
    assert result["verdict"] == "identical", result
    first = result["steps"][0]
    assert (first["compared_variables"], len(first["notes"])) == (False, 1)


def test_some_steps_alone_from_the_snapshot_before() -> None:
    session = run_cells("import random\nx = random.random()", "y = x * 2\nprint(y)", "z = 1")
    result = reexecute(session, node=0, subtree=False, after=1, upto=2)
    assert [step["step"] for step in result["steps"]] == [2]
    assert result["verdict"] == "identical", result


def test_a_fork_is_executed_again_from_where_it_began() -> None:
    source = run_cells("import random\nx = [random.random()]", "x.append(2)")
    session = run_to_end(fork(source, 1, reply="```repl\nx.append('mine')\nprint(len(x))\n```"))
    result = reexecute(session, node=0, after=1)
    assert result["verdict"] == "identical", result
    assert [step["step"] for step in result["steps"]] == [2, 3]


def fixed(clock: float, seed: int) -> Determinism:
    return Determinism(clock=clock, seed=seed)


READ = "import os, time\nread = rlm_query('a child')\nprint(time.time(), os.urandom(4).hex(), read)"
DRAWN = "drawn = [__import__('random').random(), __import__('time').time_ns()]"


def test_a_repeatable_session_is_executed_with_its_own_clock_and_seed() -> None:
    limits = Limits(max_steps_per_node=4)
    session = run_cells(READ, DRAWN, READ, determinism=fixed(1_700_000_000.0, 7), limits=limits)
    for options in ({}, {"node": 0, "subtree": False, "after": 1, "upto": 2}, {"freeze_time": True}):
        result = reexecute(session, **options)
        assert result["verdict"] == "identical", (options, result["first"])
    assert reexecute(session, seed=8)["first"]["step"] == 1


def test_each_step_of_a_fork_is_executed_with_what_it_ran_with() -> None:
    source = run_cells(READ, DRAWN, "x = 1", determinism=fixed(1_700_000_000.0, 7), limits=Limits(max_steps_per_node=5))
    other = config_to_plain(
        msgspec.structs.replace(config_from_plain(source.config), determinism=fixed(1_800_000_000.0, 8))
    )
    session = run_to_end(fork(source, 2, config=other, reply=f"```repl\n{READ}\n```"))
    assert session.config["determinism"]["seed"] == 8
    result = reexecute(session)
    assert result["verdict"] == "identical", result["first"]
    assert Event.objects.filter(session=session, type="cell.output", data__contains='"text":"1800000000.0').exists()


def test_what_cannot_be_begun_is_refused_or_told() -> None:
    session = run_cells("x = 1")
    with pytest.raises(CannotReexecute, match="no node 9"):
        start_reexecution(actor=Actor(None, "test"), session=session, node=9)
    with pytest.raises(CannotReexecute, match="no step"):
        start_reexecution(actor=Actor(None, "test"), session=session, after=3, upto=2)
    result = reexecute(session, node=0, after=9)
    assert result["verdict"] == "incomplete"
    assert "no finished step after step 9" in result["problems"][0]
