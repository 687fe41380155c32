"""The built-in scripts, played by a tiny recursive REPL in this process: each ends with the answer that it
promises."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runs.lm.base import LmRequest, Message, ModelChoice
from runs.lm.registry import builder
from runs.lm.scripts import MODULES, built_in_script
from runs.lm.site import Site

MOST_STEPS = 150


@dataclass
class Play:
    """Plays a script; `nodes` counts the recursion nodes, `deepest` their depth, `leaves` the plain calls."""

    name: str
    options: dict[str, object] = field(default_factory=dict)
    max_depth: int = 10
    nodes: int = 0
    deepest: int = 0
    leaves: int = 0
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        extra = {"options": self.options, "retry": {"first_delay_s": 0.0005}}
        self.client = builder("scripted")(ModelChoice("scripted", f"scripted:{self.name}", extra=extra), "", Site())

    def ask(self, prompt: str, key: str, kind: str, depth: int) -> str:
        request = LmRequest((Message("user", prompt),), key=key, kind=kind, depth=depth)
        return asyncio.run(self.client.complete(request)).text

    def node(self, context: str, depth: int = 0) -> str:
        number, self.nodes, self.deepest = self.nodes, self.nodes + 1, max(self.deepest, depth)
        calls = 0

        def batch(prompts: list[str]) -> list[str]:
            nonlocal calls
            calls, self.leaves = calls + 1, self.leaves + len(prompts)
            return [
                self.ask(prompt, f"{number}/{step}/1/c{calls}/{place}", "leaf", depth)
                for place, prompt in enumerate(prompts)
            ]

        def recurse(prompts: list[str]) -> list[str]:
            if depth + 1 >= self.max_depth:
                return batch(prompts)
            return [self.node(prompt, depth + 1) for prompt in prompts]

        answer: dict[str, object] = {"content": "", "ready": False}
        names: dict[str, object] = {
            "context": context,
            "answer": answer,
            "llm_query": lambda prompt: batch([prompt])[0],
            "llm_query_batched": batch,
            "rlm_query": lambda prompt: recurse([prompt])[0],
            "rlm_query_batched": recurse,
        }
        for step in range(1, MOST_STEPS):
            self.run(self.ask("go on", f"{number}/{step}/0/turn/0", "turn", depth), names)
            if answer["ready"]:
                return str(answer["content"])
        raise AssertionError(f"{self.name} gave no answer in {MOST_STEPS} steps")

    def run(self, reply: str, names: dict[str, object]) -> None:
        code = "\n".join(re.findall(r"^```repl\n(.*?)^```", reply, re.DOTALL | re.MULTILINE))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)  # noqa: S102  # the scripts are ours
        except Exception as error:  # noqa: BLE001  # whatever a cell raises
            self.errors.append(repr(error))


@pytest.fixture(scope="module")
def library() -> str:
    """A part of the standard library's source in the form of the example task."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for folder in (".", "json", "email", "asyncio") for path in (root / folder).glob("*.py"))
    return "".join(
        f"# === file: {path.relative_to(root)} ===\n{path.read_text('utf-8', 'replace')}\n" for path in files
    )


def test_every_name_builds_with_its_defaults() -> None:
    for name in MODULES:
        assert built_in_script(name).rules


def test_hundred_steps_adds_them_up() -> None:
    play = Play("hundred_steps")
    assert play.node("anything") == "5050"


def test_fan_out_adds_up_its_places() -> None:
    play = Play("fan_out", {"calls": 50, "latency_ms": 0})
    assert play.node("anything") == str(sum(range(50)))
    assert play.leaves == 50


@pytest.mark.parametrize("name", ["many_leaves", "flaky"])
def test_leaves_add_up_even_on_a_flaky_endpoint(name: str) -> None:
    play = Play(name, {"steps": 3, "calls": 10, "latency_ms": 0, "jitter_ms": 0})
    assert play.node("anything") == str(3 * sum(range(10)))
    assert play.errors == []


def test_deep_tree_has_the_promised_size_and_depth() -> None:
    play = Play("deep_tree", {"depth": 5, "nodes": 300})
    assert play.node("anything") == "300"
    assert (play.nodes, play.deepest) == (300, 5)


@pytest.mark.parametrize(("depth", "nodes"), [(1, 2), (1, 40), (3, 4), (4, 1000), (9, 10)])
def test_deep_tree_of_other_shapes(depth: int, nodes: int) -> None:
    play = Play("deep_tree", {"depth": depth, "nodes": nodes}, max_depth=100)
    assert play.node("anything") == str(nodes)
    assert (play.nodes, play.deepest) == (nodes, depth)


def test_measure_tells_the_length() -> None:
    assert Play("measure").node("x" * 1234) == "1234"


@pytest.mark.parametrize("max_depth", [1, 2, 3])
def test_the_tour_errs_once_recovers_recurses_and_counts_right(library: str, max_depth: int) -> None:
    play = Play("tour", max_depth=max_depth)
    answer = play.node(library)
    pieces = library.split("# === file: ")[1:]
    counts = {piece.partition(" ===")[0]: _definitions(piece) for piece in pieces}
    assert answer.startswith(f"{sum(counts.values())} lines; the most, {max(counts.values())}, are in ")
    assert len(play.errors) == 1
    assert "ValueError" in play.errors[0]
    assert play.deepest == max_depth - 1
    assert play.leaves >= 4


def _definitions(source: str) -> int:
    """Counted line by line, without the regular expression of the script."""
    names = [
        line.split()[1].split("(")[0].split(":")[0]
        for line in source.splitlines()
        if line.strip().startswith("class ") and len(line.split()) > 1
    ]
    return sum(name.endswith(("Error", "Exception")) for name in names)
