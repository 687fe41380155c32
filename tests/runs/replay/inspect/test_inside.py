"""The programs that run beside the variables, run here as a sandbox would: as source, in a namespace of hostile names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runs.replay.inspect.inside import program, reference
from runs.replay.inspect.inside.difference import _rlmweb_difference
from runs.replay.inspect.inside.export import _rlmweb_export
from runs.replay.inspect.inside.plain import _rlmweb_plain

SHADOWED = "list = dict = str = len = print = repr = sum = type = open = sorted = json = os = 0\n"
"""What language models like to name their variables."""
MAX_BYTES = 10_000_000


def run(code: str, before: str = "", home: Path | None = None) -> Any:
    """The JSON that the code prints, in a Python of its own."""
    environment = {"HOME": str(home)} if home else {}
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{SHADOWED}{code}"], capture_output=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def plain(made: str, max_chars: int = 100_000, start: int = 0) -> Any:
    return run(
        program(_rlmweb_plain, max_chars, start, variable="value"), f"value = {made}" if "\n" not in made else made
    )


def difference(before: str, after: str, max_chars: int = 100_000, start: int = 0) -> list[dict[str, Any]]:
    trees = [json.dumps(plain(made, max_chars, start)) for made in (before, after)]
    found = run(program(_rlmweb_difference, *trees, "", 100, 50_000))
    entries: list[dict[str, Any]] = found["entries"]
    return entries


def export(made: str, form: str, tmp_path: Path, max_bytes: int = MAX_BYTES) -> tuple[dict[str, Any], bytes]:
    code = program(_rlmweb_export, form, "out", max_bytes, variable="value")
    said = run(code, f"value = {made}" if "\n" not in made else made, tmp_path)
    return said, (tmp_path / "out").read_bytes()


def test_a_name_that_is_no_identifier_is_reached_all_the_same() -> None:
    assert reference("rows") == "rows"
    assert reference("class") == "globals()['class']"
    assert reference("a b") == "globals()['a b']"
    assert reference("x; import os") == "globals()['x; import os']"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("1", "2", [("", "changed", "1", "2")]),
        ("1", "'1'", [("", "changed", "int: 1", "str: '1'")]),
        ("'colour'", "'color'", [("", "changed", "colour", "color")]),
        ("{'a': 1, 'b': 2}", "{'a': 1, 'c': 3}", [("['b']", "removed", "2", None), ("['c']", "added", None, "3")]),
        ("{'a': {'b': [1, 2]}}", "{'a': {'b': [1, 3]}}", [("['a']['b'][1]", "changed", "2", "3")]),
        ("[1, 2, 3]", "[0, 1, 2, 3]", [("[0]", "added", None, "0"), ("", "length", "3", "4")]),
        ("[1, 2, 3]", "[1, 3]", [("[1]", "removed", "2", None), ("", "length", "3", "2")]),
        ("{1, 2}", "{2, 3}", [("", "removed", "1", None), ("", "added", None, "3")]),
        ("(1, 2)", "(1, 5)", [("[1]", "changed", "2", "5")]),
    ],
)
def test_a_difference_names_the_element(before: str, after: str, expected: list[Any]) -> None:
    entries = difference(before, after)
    assert [(e["path"], e["what"], e.get("before"), e.get("after")) for e in entries] == expected


def test_a_text_of_several_lines_differs_by_line() -> None:
    entry = difference("'one\\ntwo\\nthree'", "'one\\n2\\nthree'")[0]
    assert entry["what"] == "text"
    assert entry["lines"] == ["@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"]


def test_a_part_of_a_long_text_says_nothing_of_what_is_outside_it() -> None:
    made = "''.join(f'line {{n}}\\n' + ('more\\n' if n == {} else '') for n in range(20_000))"
    entries = difference(made.format(15_000), made.format(-1), 20_000, start=150_000)
    assert [entry["what"] for entry in entries] == ["text", "length"]
    assert [line for line in entries[0]["lines"] if line[0] in "+-"] == ["-more"]
    tree = plain(made.format(15_000), 20_000)
    assert len(tree["blocks"]) == -(-tree["n"] // 4096)


def test_objects_of_the_session_differ_by_attribute() -> None:
    made = "class Point:\n    def __init__(self, x): self.x = x\nvalue = Point({})"
    entries = difference(made.format(1), made.format(2))
    assert [(e["path"], e["before"], e["after"]) for e in entries] == [("['x']", "1", "2")]


def test_frames_and_arrays_differ_by_element() -> None:
    array = "import numpy\nvalue = numpy.array([1, {}, 3])"
    assert [e["path"] for e in difference(array.format(2), array.format(9))] == ["[1]"]
    frame = "import pandas\nvalue = pandas.DataFrame({{'a': [1, {}], 'b': ['x', 'y']}})"
    assert [e["path"] for e in difference(frame.format(2), frame.format(9))] == ["['a'][1]"]


def test_what_was_cut_is_said_to_be() -> None:
    tree = plain("['x' * 50] * 100_000", 10_000)
    assert tree["n"] == 100_000
    assert 50 < len(tree["v"]) < 1000
    entries = difference("'a' * 1_000_000 + 'b' + 'a' * 1_000_000", "'a' * 2_000_001", 10_000)
    assert [e["what"] for e in entries] == ["more"]
    entries = difference("[*range(50_000), 1]", "[0, 2, *range(2, 50_000), 2]", 10_000)
    assert [e["what"] for e in entries] == ["changed", "more"]


@pytest.mark.parametrize(
    "made",
    [
        "value = []\nvalue.append(value)",
        "value = []\nfor _ in range(100_000): value = [value]",
        "class Bad:\n    def __repr__(self): raise SystemExit\nvalue = [Bad()]",
        "class Bad(dict):\n    def items(self): raise ValueError\n    __iter__ = items\nvalue = Bad(a=1)",
        "value = '\\ud800\\x00\\u202e'",
        "value = {i: str(i) * 1000 for i in range(1000)}",
        "value = 10 ** 10_000",
        "value = object()",
    ],
)
def test_any_value_becomes_a_bounded_tree(made: str) -> None:
    assert len(json.dumps(plain(made, 20_000))) < 40_000


def test_json_is_written_as_it_is(tmp_path: Path) -> None:
    said, data = export("{'a': [1, (2, 3)], 'é': None, 'set': {2, 1}}", "json", tmp_path)
    assert said == {"bytes": len(data)}
    assert json.loads(data) == {"a": [1, [2, 3]], "é": None, "set": [1, 2]}


@pytest.mark.parametrize(
    ("made", "form", "words"),
    [
        ("[object()]", "json", "object of type object"),
        ("[float('nan')]", "json", "JSON cannot say it"),
        ("{(1, 2): 3}", "json", "JSON cannot say it"),
        ("42", "csv", "this is of type int"),
        ("[[1, 2], [3]]", "npy", "it is no array"),
        ("[object()]", "npy", "without pickle"),
        ("42", "parquet", "Parquet needs a frame"),
        ("'x' * 200_000", "raw", "larger than 100000 bytes"),
        ("['x' * 1000] * 1000", "json", "larger than 100000 bytes"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_reason(made: str, form: str, words: str, tmp_path: Path) -> None:
    said, _ = export(made, form, tmp_path, max_bytes=100_000)
    assert words in said["error"]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("[{'a': 1, 'b': 'x,y'}, {'a': 2, 'c': 3}]", 'a,b,c\r\n1,"x,y",\r\n2,,3\r\n'),
        ("[[1, 2], (3, 4)]", "1,2\r\n3,4\r\n"),
        ("{'a': [1, 2], 'b': [3, 4]}", "a,b\r\n1,3\r\n2,4\r\n"),
        ("{'a': 1, 'b': 2}", "key,value\r\na,1\r\nb,2\r\n"),
        ("['x', 'y']", "x\r\ny\r\n"),
    ],
)
def test_csv_takes_rows_columns_and_mappings(made: str, expected: str, tmp_path: Path) -> None:
    assert export(made, "csv", tmp_path)[1].decode() == expected


def test_frames_and_arrays_come_out_as_files_that_others_read(tmp_path: Path) -> None:
    import numpy as np
    import pandas as pd

    frame = "import pandas\nvalue = pandas.DataFrame({'a': [1, 2], 'b': ['x', None]})"
    assert export(frame, "csv", tmp_path)[1].decode() == "a,b\n1,x\n2,\n"
    assert json.loads(export(frame, "json", tmp_path)[1]) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    export(frame, "parquet", tmp_path)
    found = pd.read_parquet(tmp_path / "out")
    assert found["a"].tolist() == [1, 2]
    assert found["b"].isna().tolist() == [False, True]
    export("import numpy\nvalue = numpy.arange(6).reshape(2, 3)", "npy", tmp_path)
    assert np.load(tmp_path / "out", allow_pickle=False).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_raw_is_the_text_or_the_bytes(tmp_path: Path) -> None:
    assert export("'käse\\n' * 2", "raw", tmp_path)[1].decode() == "käse\nkäse\n"
    assert export("b'\\x00\\xff'", "raw", tmp_path)[1] == b"\x00\xff"
    assert export("{'b': 1}", "raw", tmp_path)[1] == b"{'b': 1}\n"
