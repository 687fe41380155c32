"""The suite `answers` without a model: what it says when it cannot measure, and how it counts."""

from __future__ import annotations

import pytest

from runs.bench.runner import run
from runs.bench.suite import find_suite
from runs.bench.suites import answers
from runs.examples import Choice, Verdict, example


def silent(text: str) -> None: ...


def outcome(status: str, correct: bool) -> answers.Outcome:
    return answers.Outcome("How many?", status, "5", Verdict(correct, "5", "because"), duration_s=12.0)


def test_every_question_kind_of_the_library_has_a_bar() -> None:
    names = {target.name for measurement in find_suite("answers").measurements for target in measurement.targets}

    assert names == {"first session answered", *example("stdlib").question_kinds}


def test_without_a_model_no_session_is_started_and_the_bar_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"state": "absent", "error": "The model process is not running."}
    monkeypatch.setattr(answers, "model_status", lambda: absent)
    monkeypatch.setattr(answers, "start_session", lambda **_: pytest.fail("A session was started."))

    [bar] = run(find_suite("answers").chosen("first"), quick=True, say=silent)

    assert not bar.met
    assert "start `manage.py up`" in bar.note


def test_accuracy_is_the_share_of_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(choice: Choice) -> answers.Outcome:
        return outcome("finished", correct=choice.seed != 2)

    monkeypatch.setattr(answers, "ask", judged)
    [bar] = run(find_suite("answers").chosen("base-class"), quick=False, say=silent)

    assert bar.value == pytest.approx(200 / 3)
    assert (bar.n, bar.met, bar.note) == (3, True, "median 12 s a session")


def test_an_answer_that_a_limit_cut_off_does_not_count() -> None:
    assert outcome("finished", correct=True).correct
    assert not outcome("limited", correct=True).correct
    assert not outcome("finished", correct=False).correct


def test_a_wrong_first_session_has_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ask", lambda choice: outcome("finished", correct=False))
    [bar] = run(find_suite("answers").chosen("first"), quick=False, say=silent)

    assert (bar.value, bar.met) == (None, False)
