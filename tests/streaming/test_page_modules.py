"""The modules under the run page that draw nothing: the log, its rows, and texts made harmless."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import trajectories
from tests.streaming.conftest import RunModule

READ = """
import { readFileSync } from "node:fs";
import { fold } from "./js/live/fold.js";
import { EventLog, OutOfOrder } from "./js/live/log.js";
import { newTree, toPlain } from "./js/live/state.js";
import { rowsAbove, visibleRows } from "./js/run/rows.js";
import { factsOf, rowContains } from "./js/run/rowfacts.js";
const events = readFileSync(process.argv[2], "utf8").trim().split("\\n").map((line) => JSON.parse(line));
const log = new EventLog();
log.add(events);
"""


@pytest.fixture(scope="module")
def big_log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Long enough for the checkpoints to be thinned out."""
    path = tmp_path_factory.mktemp("logs") / "grown.jsonl"
    path.write_text("".join(f"{line}\n" for line in trajectories.grown(2500, leaves=2).lines()))
    return str(path)


def test_the_state_at_any_event_is_what_folding_up_to_it_gives(run_module: RunModule, big_log: str) -> None:
    source = """
    const wrong = [];
    const states = new Map();
    const tree = newTree();
    const wanted = [1, 499, 500, 501, 7777, 20000, events.length - 1, events.length];
    events.forEach((event, n) => {
      fold(tree, event);
      if (wanted.includes(n + 1)) states.set(n + 1, JSON.stringify(toPlain(tree)));
    });
    // Forth, back, and forth again from where the last question ended.
    for (const seq of [...wanted, ...wanted.toReversed(), 500, 501, 7777]) {
      if (JSON.stringify(toPlain(log.stateAt(seq))) !== states.get(seq)) wrong.push(seq);
    }
    console.log(JSON.stringify({ events: events.length, wrong, kept: log.checkpoints.length, interval: log.interval }));
    """
    found = run_module(READ + source, big_log)
    assert found["events"] > 32_000
    assert found["wrong"] == []
    assert found["interval"] > 500
    assert found["kept"] <= 65


def test_events_that_are_here_are_skipped_and_a_hole_is_refused(run_module: RunModule) -> None:
    source = """
    const before = JSON.stringify(toPlain(log.live));
    log.add(events.slice(-5));
    const same = JSON.stringify(toPlain(log.live)) === before;
    let refused = false;
    try {
      log.add([{ ...events[0], seq: events.length + 2 }]);
    } catch (error) {
      refused = error instanceof OutOfOrder;
    }
    console.log(JSON.stringify({ same, refused, last: log.last === events.length }));
    """
    path = str(trajectories.FOLDER / "tour.jsonl")
    assert run_module(READ + source, path) == {"same": True, "refused": True, "last": True}


def test_a_moment_is_found_by_its_time(run_module: RunModule) -> None:
    source = """
    const times = [events[0].at - 1, events[0].at, events[9].at, events[9].at + 1, events.at(-1).at + 1000];
    console.log(JSON.stringify(times.map((time) => log.seqAt(time))));
    """
    path = trajectories.FOLDER / "tour.jsonl"
    last = len(path.read_text().splitlines())
    assert run_module(READ + source, str(path)) == [1, 1, 10, 10, last]


def test_equal_calls_are_one_row_until_it_is_opened(run_module: RunModule) -> None:
    source = """
    const tree = log.live;
    const folded = visibleRows(tree, new Map());
    const batch = folded.find((row) => row.kind === "batch");
    const opened = visibleRows(tree, new Map([[batch.id, true]]));
    const call = opened.find((row) => row.kind === "llm");
    const show = (rows) => rows.map((row) => [row.kind, row.level, row.pos, row.size, row.open]);
    console.log(JSON.stringify({
      folded: show(folded),
      opened: show(opened),
      above: rowsAbove(tree, call.id).includes(batch.id),
      words: factsOf(tree, batch).words,
      finds: folded.filter((row) => rowContains(row, "email.parser")).map((row) => row.kind),
    }));
    """
    found = run_module(READ + source, str(trajectories.FOLDER / "tour.jsonl"))
    assert found["folded"] == [["root", 0, 1, 1, True], ["batch", 1, 1, 2, False], ["rlm", 1, 2, 2, None]]
    assert [row[0] for row in found["opened"]] == ["root", "batch", "llm", "llm", "rlm"]
    assert found["above"] is True
    assert found["words"].startswith("2 calls")
    assert found["finds"] == ["root", "batch"]


def test_every_node_of_a_log_with_holes_has_one_row(run_module: RunModule) -> None:
    source = """
    const open = new Map();
    for (;;) {
      const closed = visibleRows(log.live, open).filter((row) => row.open === false);
      if (closed.length === 0) break;
      for (const row of closed) open.set(row.id, true);
    }
    const rows = visibleRows(log.live, open).filter((row) => row.kind === "root" || row.kind === "rlm");
    console.log(JSON.stringify([rows.length, new Set(rows.map((row) => row.id)).size, log.live.nodes.size]));
    """
    for name in ("with_gaps", "grown", "stopped"):
        rows, different, nodes = run_module(READ + source, str(trajectories.FOLDER / f"{name}.jsonl"))
        assert rows == different == nodes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "⟨U+001B⟩]0;title⟨U+0007⟩"),
        ("exe.\u202egnp", "exe.⟨U+202E⟩gnp"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("日本語 🙂", "日本語 🙂"),
    ],
)
def test_a_text_can_be_read_but_cannot_act(run_module: RunModule, text: str, shown: str) -> None:
    source = f"""
    import {{ inert }} from "./js/run/format.js";
    console.log(JSON.stringify(inert({json.dumps(text)})));
    """
    assert run_module(source) == shown


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("cost(0)", "$0"),
        ("cost(0, 3)", "unknown"),
        ("cost(2320)", "$0.00232"),
        ("cost(4_980_000, 2)", "≥ $4.98"),
        ("short(9_999)", "9,999"),
        ("short(11_300_000)", "11.3 M"),
        ("bytes(999)", "999 B"),
        ("bytes(999_999)", "1.0 MB"),
        ("bytes(12_734_221)", "12.7 MB"),
        ("duration(59_999)", "60.0 s"),
        ("duration(3_725_000)", "1 h 2 min"),
        ('firstWords("  two\\n words ", 20)', "two words"),
        ('firstWords({ head: "long" })', "long"),
    ],
)
def test_figures_read_as_people_write_them(run_module: RunModule, call: str, said: Any) -> None:
    source = f"""
    import * as format from "./js/run/format.js";
    const {{ bytes, cost, duration, firstWords, short }} = format;
    console.log(JSON.stringify({call}));
    """
    assert run_module(source) == said


def test_an_address_keeps_what_it_was_made_of_and_ignores_nonsense(run_module: RunModule) -> None:
    source = """
    import { formatAddress, parseAddress } from "./js/run/address.js";
    const place = { node: 12, step: 3, call: null, seq: 400, watch: "a&b#c=d" };
    const nonsense = "#node=-1&step=x&seq=1e9&call=&watch=";
    const long = parseAddress(`#watch=${"x".repeat(9999)}`).watch.length;
    console.log(JSON.stringify([parseAddress(formatAddress(place)), parseAddress(nonsense), long]));
    """
    assert run_module(source) == [
        {"node": 12, "step": 3, "call": None, "seq": 400, "watch": "a&b#c=d"},
        {"node": 0, "step": None, "call": None, "seq": None, "watch": None},
        200,
    ]


def test_marks_are_where_things_happened(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "tour.jsonl"
    path.write_text("".join(f"{line}\n" for line in trajectories.tour().lines()))
    source = """
    const typesOf = (seqs) => [...new Set(seqs.map((seq) => log.event(seq).type))];
    const { steps, subcalls, snapshots, errors, limits, answers } = log.marks;
    const kinds = { steps, subcalls, snapshots, errors, limits, answers };
    const said = Object.fromEntries(Object.entries(kinds).map(([name, seqs]) => [name, [seqs.length, typesOf(seqs)]]));
    const ends = [0, 1, 99].map((node) => log.marks.endsOf(node).map(({ seq, step }) => [log.event(seq).type, step]));
    console.log(JSON.stringify({ said, ends }));
    """
    found = run_module(READ + source, str(path))
    assert found["said"] == {
        "steps": [5, ["step.started"]],
        "subcalls": [2, ["subcall.opened"]],
        "snapshots": [1, ["snapshot.taken"]],
        "errors": [1, ["cell.finished"]],
        "limits": [0, []],
        "answers": [1, ["session.finished"]],
    }
    end = "step.finished"
    assert found["ends"] == [[[end, 1], [end, 2], [end, 3]], [[end, 1], [end, 2]], []]


def test_a_call_that_was_given_up_is_no_error_to_go_to(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "stopped.jsonl"
    path.write_text("".join(f"{line}\n" for line in trajectories.fixtures()["stopped"].lines()))
    source = """
    console.log(JSON.stringify({
      errors: log.marks.errors.map((seq) => log.event(seq).error?.type), counted: log.live.used.errors,
      failed: log.events.filter(({ type }) => type === "lm.failed").map(({ error }) => error.type),
    }));
    """
    found = run_module(READ + source, str(path))
    assert "Abandoned" in found["failed"]
    assert "Abandoned" not in found["errors"]
    assert len(found["errors"]) == found["counted"]
