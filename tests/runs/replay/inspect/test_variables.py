"""What a manifest says of the variables of a step and of one variable over the steps; no sandbox."""

from __future__ import annotations

from runs.replay.inspect.timeline import timeline
from runs.replay.inspect.variables import Change, dropped_files, variable_rows
from sandboxes.manifest import Dropped, FileState, Manifest, ManifestError, Piece, VariableState

HASH = "0" * 64


def manifest(digests: dict[str, str], **fields: object) -> Manifest:
    states = [VariableState(name=name, type="int", digest=digest, preview=digest) for name, digest in digests.items()]
    return Manifest(python="3.11.7", variables=states, **fields)  # type: ignore[arg-type]


def changes(now: Manifest, before: Manifest | None) -> dict[str, Change]:
    return {row.name: row.change for row in variable_rows(now, before)}


def test_variables_are_compared_by_their_digests() -> None:
    now, before = manifest({"a": "1", "b": "2", "new": "3"}), manifest({"a": "1", "b": "1", "gone": "4"})
    assert changes(now, before) == {
        "new": Change.ADDED,
        "b": Change.CHANGED,
        "gone": Change.DELETED,
        "a": Change.UNCHANGED,
    }
    assert [row.name for row in variable_rows(now, before)] == ["new", "b", "gone", "a"]


def test_everything_is_new_in_the_first_step() -> None:
    assert changes(manifest({"a": "1"}), None) == {"a": Change.ADDED}


def test_what_is_not_held_has_its_reason_and_is_not_called_unchanged() -> None:
    dropped = [Dropped(name="gen", type="generator", reason="it is running")]
    now, before = manifest({"gen": ""}, dropped=dropped), manifest({"gen": ""}, dropped=dropped)
    row = variable_rows(now, before)[0]
    assert (row.change, row.held, row.reason) == (Change.UNSURE, False, "it is running")
    assert not row.has_diff


def test_a_dropped_name_without_a_state_is_listed_and_a_dropped_file_is_none() -> None:
    dropped = [Dropped(name="lock", type="lock", reason="a lock"), Dropped(name="big/data.bin", reason="too large")]
    now = manifest({}, dropped=dropped, files=[FileState(path="notes")])
    assert [(row.name, row.held) for row in variable_rows(now, None)] == [("lock", False)]
    assert [each.name for each in dropped_files(now)] == ["big/data.bin"]


def test_names_that_share_objects_say_so() -> None:
    piece = Piece(names=["a", "b"], blob=HASH)
    rows = {row.name: row.shares for row in variable_rows(manifest({"a": "1", "b": "2"}, pieces=[piece]), None)}
    assert rows == {"a": ("b",), "b": ("a",)}


def test_modules_are_variables_too() -> None:
    now, before = manifest({}, modules={"np": "numpy"}), manifest({}, modules={"np": "math"})
    assert changes(now, now) == {"np": Change.UNCHANGED}
    assert changes(now, before) == {"np": Change.CHANGED}


def test_a_timeline_says_for_each_step_what_became_of_the_variable() -> None:
    steps: list[tuple[int, Manifest | Exception]] = [
        (1, manifest({})),
        (2, manifest({"a": "1"})),
        (3, manifest({"a": "1"})),
        (4, ManifestError("broken")),
        (5, manifest({"a": "2"})),
        (6, manifest({"a": ""})),
        (7, manifest({"a": "2"})),
        (8, manifest({})),
        (9, manifest({})),
    ]
    points = timeline("a", steps)
    assert [point.state for point in points] == [
        "absent",
        "added",
        "same",
        "unreadable",
        "changed",
        "not held",
        "unsure",
        "deleted",
        "absent",
    ]
    assert points[3].problem == "broken"
    assert points[4].preview == "2"
