"""Forks of one snapshot at once in a whole installation: none sees anything of another, nor does the parent."""

from __future__ import annotations

from rlmweb.bench.suites.forks import expected, fork_stack, marks_in, measure


def test_marks_of_others_are_found_wherever_they_are() -> None:
    assert marks_in(expected("fork-3")) == {"base", "fork-3"}
    assert marks_in([["x", "fork-1"], {"no": 1}, ["of-fork-2.txt"], "parent"]) == {"fork-1", "fork-2", "parent"}


def test_forks_and_their_parent_do_not_disturb_each_other() -> None:
    with fork_stack(threads=7) as stack:
        outcome = measure(stack, 6)
    assert outcome.wrong == []
    assert outcome.seen == 0
    assert outcome.most_sandboxes > 3, "they did not run together, so nothing was shown"
    assert outcome.left == 0
