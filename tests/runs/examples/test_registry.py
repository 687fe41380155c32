"""What holds for every example of the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.examples import Example, Tag, all_examples, example, first_session_example
from runs.examples.types import SizeOutOfRange, UnknownExample, UnknownQuestionKind

EVERY_KIND = [
    pytest.param(known, kind, id=f"{known.slug}-{kind}") for known in all_examples() for kind in known.question_kinds
]
EVERY_EXAMPLE = [pytest.param(known, id=known.slug) for known in all_examples()]


@pytest.mark.parametrize(("known", "kind"), EVERY_KIND)
def test_the_smallest_context_has_a_question_with_a_right_answer(known: Example, kind: str, tmp_path: Path) -> None:
    built = known.build(tmp_path / "context", seed=5, size_bytes=known.min_size_bytes, question_kind=kind)

    assert built.question_kind == kind
    assert built.check(built.answer).correct
    assert not built.check("").correct
    assert not built.check("I do not know.").correct
    assert Tag.decode(built.tag).check(built.answer).correct


@pytest.mark.parametrize("known", EVERY_EXAMPLE)
def test_the_same_seed_builds_the_same_and_another_seed_does_not(known: Example, tmp_path: Path) -> None:
    kind = known.question_kinds[0]
    size_bytes = known.min_size_bytes
    one = known.build(tmp_path / "one", seed=7, size_bytes=size_bytes, question_kind=kind)
    again = known.build(tmp_path / "again", seed=7, size_bytes=size_bytes, question_kind=kind)
    other = known.build(tmp_path / "other", seed=8, size_bytes=size_bytes, question_kind=kind)

    assert (one.question, one.expected) == (again.question, again.expected)
    assert one.path.read_bytes() == again.path.read_bytes()
    assert one.path.read_bytes() != other.path.read_bytes()


@pytest.mark.parametrize("known", EVERY_EXAMPLE)
def test_a_context_is_utf8_of_the_size_asked_for(known: Example, tmp_path: Path) -> None:
    size_bytes = 4 * known.min_size_bytes
    built = known.build(tmp_path / "context", seed=1, size_bytes=size_bytes)

    built.path.read_text(encoding="utf-8")
    assert built.size_bytes == built.path.stat().st_size
    # One file of the library can be long; a record is short.
    slack_bytes = 600_000 if known.slug == "stdlib" else 0.1 * size_bytes
    assert size_bytes <= built.size_bytes <= size_bytes + slack_bytes


@pytest.mark.parametrize("known", EVERY_EXAMPLE)
def test_the_seed_chooses_the_question_kind(known: Example, tmp_path: Path) -> None:
    kinds = {
        known.build(tmp_path / "context", seed=seed, size_bytes=known.min_size_bytes).question_kind
        for seed in range(len(known.question_kinds))
    }

    assert kinds == set(known.question_kinds)


@pytest.mark.parametrize("known", EVERY_EXAMPLE)
def test_kinds_for_small_models_exist(known: Example) -> None:
    assert set(known.small_model_kinds) <= set(known.question_kinds)


def test_a_size_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SizeOutOfRange, match="10000 to 50000000 bytes, not 9999"):
        example("oolong").build(tmp_path / "context", size_bytes=9_999)


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownQuestionKind, match="most-timeouts"):
        example("logfile").build(tmp_path / "context", question_kind="weather")


def test_an_unknown_example_names_the_known_ones() -> None:
    with pytest.raises(UnknownExample, match="stdlib, logfile, s-niah, oolong, csv"):
        example("weather")


def test_the_first_session_works_on_ten_megabytes_within_reach_of_a_small_model(tmp_path: Path) -> None:
    choice = first_session_example()
    built = choice.build(tmp_path / "context")

    assert built.question_kind in choice.example.small_model_kinds
    assert built.size_bytes >= 10_000_000
    assert built.check(built.answer).correct
