"""The engine with real runner processes: the interface that prompts trained on `rlms` 0.1.3 know."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from runs.engine.inmemory import Asked, Frame, Result, Tree
from runs.engine.io import AnswerSubcall, RunCell
from runs.engine.state import NodeTask
from runs.events.types import CellFinished, CellOutput, NodeStarted
from sandboxes.frames import Finished, Output, SubCall
from tests.runs.engine.stage import repl_block, task
from tests.sandboxes.runner.host import RunnerHost

KINDS = {"subcall": SubCall, "output": Output, "finished": Finished}


class RunnerRepl:
    """A runner process of its own, without isolation."""

    def __init__(self, folder: Path, node_task: NodeTask, context: str) -> None:
        folder.mkdir()
        self.host = RunnerHost(folder)
        self.open: dict[str, tuple[SubCall, set[int]]] = {}
        (self.host.workspace / "context.txt").write_text(context)
        contexts = [{"path": "context.txt", "kind": node_task.context_kind}]
        self.host.send({"type": "setup", "id": "setup", "contexts": contexts, "recursion": node_task.recursive})
        assert "error" not in self.host.wait_type("setup_done")

    def execute(self, cell: str, command: RunCell) -> None:
        self.host.send({"type": "exec", "id": cell, "code": {"text": command.code}, "timeout_s": command.timeout_s})

    def answer(self, command: AnswerSubcall) -> None:
        key = command.call
        said = {"error": command.error} if command.error is not None else {"text": {"text": command.text}}
        self.host.send({"type": "answer", "call": key.subcall, "index": key.index, **said})
        _, left = self.open[key.subcall]
        left.discard(key.index)
        if not left:
            del self.open[key.subcall]

    def interrupt(self, cell: str, reason: str) -> None:
        self.host.send({"type": "interrupt", "cell": cell, "reason": reason})

    def frames(self, after: int) -> Sequence[Frame]:
        if self.open and not self._known(after):
            return []  # single-threaded code: it waits for answers
        self.host.wait(lambda frame: frame["type"] in KINDS and frame["seq"] > after)
        return self._known(after)

    def outstanding(self) -> Sequence[SubCall]:
        return [call for call, _ in self.open.values()]

    def close(self) -> None:
        self.host.close()

    def _known(self, after: int) -> list[Frame]:
        found: list[Frame] = []
        for frame in self.host.frames:
            if frame["type"] in KINDS and frame["seq"] > after:
                made: Frame = msgspec.convert(frame, KINDS[frame["type"]])
                found.append(made)
        for made in found:
            if isinstance(made, SubCall) and made.seq > self._newest_call():
                self.open[made.call] = made, set(range(len(made.prompts)))
        return found

    def _newest_call(self) -> int:
        return max((call.seq for call, _ in self.open.values()), default=0)


Run = Callable[..., Result]


@pytest.fixture(params=[False, True], ids=["settled", "paranoid"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    names = itertools.count()

    def run(model: Callable[[Asked], str], context: str = "the context", **changes: object) -> Result:
        def make(node_task: NodeTask, text: str) -> RunnerRepl:
            return RunnerRepl(tmp_path / f"{next(names)}", node_task, text)

        return Tree(task(**changes), context, model, make, paranoid=request.param).run()

    return run


def turns(*replies: str) -> Callable[[Asked], str]:
    return lambda asked: replies[min(asked.step, len(replies)) - 1]


def output(result: Result) -> str:
    return "".join(str(event.text) for event in result.events if isinstance(event, CellOutput))


def test_variables_and_the_answer_s_draft_live_from_step_to_step(run: Run) -> None:
    result = run(
        turns(
            repl_block("words = context.split()", 'answer["content"] = len(words)'),
            repl_block("print(SHOW_VARS())", 'answer["ready"] = True'),
        )
    )
    assert (result.status, result.answer) == ("finished", "2")
    assert "words" in output(result)


def test_the_draft_is_the_partial_answer(run: Run) -> None:
    result = run(turns(repl_block('answer["content"] = "maybe 7"'), repl_block("1 / 0")), max_consecutive_errors=2)
    assert (result.status, result.answer, result.partial) == ("limited", "maybe 7", True)


@pytest.mark.parametrize("ending", ["FINAL(total)", 'FINAL_VAR("total")', "FINAL_VAR(total)"])
def test_the_older_protocol_works_in_code(run: Run, ending: str) -> None:
    assert run(turns(repl_block("total = 6 * 7", ending))).answer == "42"


def test_the_older_protocol_works_in_the_text(run: Run) -> None:
    assert run(turns(repl_block("total = 6 * 7") + "\nFINAL_VAR(total)")).answer == "42"
    result = run(turns("FINAL_VAR(missing)", "FINAL(gave up)"))
    assert result.answer == "gave up"
    assert "'missing' not found" in result.conversations[0][-2].content


def test_all_blocks_run_and_the_first_answer_counts(run: Run) -> None:
    blocks = [repl_block(f'answer["content"] = {n}', 'answer["ready"] = True', f"print({n})") for n in (1, 2)]
    result = run(turns("\n".join(blocks)))
    assert result.answer == "1"
    assert output(result) == "1\n2\n"


def test_queries_single_and_batched(run: Run) -> None:
    def model(asked: Asked) -> str:
        if asked.ask.kind == "leaf":
            return f"<{asked.ask.messages[-1].content}>"
        return repl_block(
            "one = llm_query('a')", "more = llm_query_batched(['b', 'c'])", "FINAL(''.join([one, *more]))"
        )

    result = run(model)
    assert result.answer == "<a><b><c>"


def test_recursion_opens_a_session_on_the_prompt(run: Run) -> None:
    def model(asked: Asked) -> str:
        if asked.depth:
            return repl_block("FINAL(len(context))")
        return repl_block("parts = [context[:3], context[3:]]", "FINAL(sum(map(int, rlm_query_batched(parts))))")

    result = run(model, context="eleven char", max_depth=2)
    assert result.answer == "11"
    assert [event.index for event in result.events if isinstance(event, NodeStarted)] == [0, 0, 1]


def test_without_recursion_left_it_is_a_plain_query(run: Run) -> None:
    def model(asked: Asked) -> str:
        return "plain" if asked.ask.kind == "leaf" else repl_block("FINAL(rlm_query('x'))")

    result = run(model, max_depth=1)
    assert (result.answer, len(result.conversations)) == ("plain", 1)


def test_an_error_leaves_the_session_alive(run: Run) -> None:
    result = run(turns(repl_block("x = 1", "1 / 0"), repl_block("FINAL(x)")))
    assert result.answer == "1"
    first, _ = [event for event in result.events if isinstance(event, CellFinished)]
    assert first.error is not None
    assert first.error.type == "ZeroDivisionError"
    assert "ZeroDivisionError" in result.conversations[0][4].content


def test_the_probe_of_the_small_profile_runs_as_a_built_in_cell(run: Run) -> None:
    context = "".join(
        f"2026-03-0{day} host=h{day % 3} status={'timeout' if day % 2 else 'ok'}\n" for day in range(1, 10)
    )
    code = "result = sum('timeout' in line for line in context.splitlines())"
    result = run(
        turns("unused", repl_block(code) + "\nFINAL_VAR(result)"),
        context=context,
        profile="small",
        question="How many timeouts were there?",
    )
    assert result.answer == "5"
    assert "looks like log lines" in result.conversations[0][-1].content
