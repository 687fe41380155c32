"""Scorers: is a branch's answer right? From 0 (wrong) to 1 (right), with a word why.

Exact, contains and numeric are decided here. A regular expression and a Python function are code of somebody's: they run
in a sandbox, with a time limit. A judge is a language model.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Annotated, Any

import msgspec

from runs.models import Session
from runs.replay.rollouts.judge import NoVerdict, judge
from runs.services.snapshots.reading import SnapshotError
from runs.services.snapshots.scratch import ScratchBox, open_plain_scratch
from sandboxes.errors import ExecTimeout, SandboxError

SCORE_TIMEOUT_S = 10.0
MAX_TEXT = 100_000
MAX_PATTERN = 2_000
MAX_SCORED_CHARS = 1_000_000
"""Of an answer that goes into a sandbox to be scored."""
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class Exact(msgspec.Struct, frozen=True, tag_field="kind", tag="exact", omit_defaults=True):
    """The answer is `expected`; `loose` ignores case, space around and between words, a final full stop, and
    how a character is written (NFKC)."""

    expected: Text
    loose: bool = True


class Contains(msgspec.Struct, frozen=True, tag_field="kind", tag="contains", omit_defaults=True):
    expected: Text
    loose: bool = True


class Regex(msgspec.Struct, frozen=True, tag_field="kind", tag="regex"):
    """The answer has a match of `pattern` (Python's `re`, `DOTALL`)."""

    pattern: Annotated[str, msgspec.Meta(max_length=MAX_PATTERN)]


class Numeric(msgspec.Struct, frozen=True, tag_field="kind", tag="numeric", omit_defaults=True):
    """The last number in the answer is within `tolerance` of `expected`."""

    expected: float
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class PythonFunction(msgspec.Struct, frozen=True, tag_field="kind", tag="python", omit_defaults=True):
    """`source` defines `score(answer, expected, question)`, which returns True, False or a number from 0 to 1."""

    source: Text
    expected: Text = ""


class Judge(msgspec.Struct, frozen=True, tag_field="kind", tag="judge", omit_defaults=True):
    """The session's root model is asked whether the answer is right by `rubric`."""

    rubric: Text
    expected: Text = ""


Scorer = Exact | Contains | Regex | Numeric | PythonFunction | Judge


class InvalidScorer(ValueError):
    """The scorer cannot be used; the message says why."""


class CannotScore(Exception):
    """This answer could not be scored; the message says why. `micro_usd`: what finding that out cost, None: unknown."""

    def __init__(self, message: str, micro_usd: int | None = 0) -> None:
        super().__init__(message)
        self.micro_usd = micro_usd


class NoSandbox(CannotScore):
    """There was no sandbox to score in, which says nothing about the answer: there may be one later."""


class Score(msgspec.Struct, frozen=True):
    """`micro_usd`: what it cost to score, None: unknown."""

    value: float
    note: str = ""
    micro_usd: int | None = 0


def scorer_from_plain(plain: object) -> Scorer:
    """Raises `InvalidScorer`."""
    try:
        scorer: Scorer = msgspec.convert(plain, Scorer)
    except msgspec.ValidationError as error:
        raise InvalidScorer(f"The scorer is not valid: {error}") from error
    if isinstance(scorer, Exact | Contains) and not scorer.expected.strip():
        raise InvalidScorer("Say which answer is expected.")
    if isinstance(scorer, Judge) and not scorer.rubric.strip():
        raise InvalidScorer("Give the judge a rubric: what makes an answer right?")
    if isinstance(scorer, Regex):
        if not scorer.pattern:
            raise InvalidScorer("Give a regular expression.")
        try:
            re.compile(scorer.pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidScorer(f"The regular expression is not valid: {error}") from error
    if isinstance(scorer, PythonFunction):
        _check_source(scorer.source)
    return scorer


def scorer_to_plain(scorer: Scorer) -> dict[str, Any]:
    plain = msgspec.to_builtins(scorer)
    assert isinstance(plain, dict)
    return plain


def score(scorer: Scorer, answer: str, session: Session) -> Score:
    """Raises `CannotScore`."""
    match scorer:
        case Exact():
            right = _words(answer, scorer.loose) == _words(scorer.expected, scorer.loose)
            return Score(float(right))
        case Contains():
            return Score(float(_words(scorer.expected, scorer.loose) in _words(answer, scorer.loose)))
        case Numeric():
            return _numeric(scorer, answer)
        case Regex():
            code = f"import re\nbool(re.search({scorer.pattern!r}, {answer!r}, re.DOTALL))"
            return _from_code(code, session)
        case PythonFunction():
            call = f"score({answer!r}, {scorer.expected!r}, {session.question!r})"
            return _from_code(f"{scorer.source}\n__import__('json').dumps({call})", session)
        case Judge():
            return _judged(scorer, answer, session)


def _judged(scorer: Judge, answer: str, session: Session) -> Score:
    try:
        verdict = judge(session, rubric=scorer.rubric, expected=scorer.expected, answer=answer[:MAX_TEXT])
    except NoVerdict as error:
        raise CannotScore(str(error), error.micro_usd) from error
    return Score(float(verdict.right), verdict.note, verdict.micro_usd)


def _words(text: str, loose: bool) -> str:
    if not loose:
        return text
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).removesuffix(".")


NUMBER = re.compile(r"(?:(?<![\w.)\]])[-\u2212])?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
"""A sign counts only where no word, number or bracket ends before it: `10-12` is a range."""


def _numeric(scorer: Numeric, answer: str) -> Score:
    numbers = NUMBER.findall(answer[-MAX_TEXT:])
    if not numbers:
        return Score(0.0, "no number in the answer")
    found = float(numbers[-1].replace(",", "").replace("\u2212", "-"))
    # Decimal numbers are not exact: 0.3 is within 0.1 of 0.2.
    slack = 1e-9 * max(1.0, abs(scorer.expected))
    return Score(float(abs(found - scorer.expected) <= scorer.tolerance + slack), f"read as {found:g}")


def _check_source(source: str) -> None:
    try:
        compile(source, "<scorer>", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InvalidScorer(f"The function is not valid Python: {error}") from error
    if "def score(" not in source:
        raise InvalidScorer("The source must define score(answer, expected, question).")


def _from_code(code: str, session: Session) -> Score:
    if len(code) > MAX_SCORED_CHARS:
        raise CannotScore(f"the answer is too long to be scored in a sandbox: over {MAX_SCORED_CHARS:,} characters")
    try:
        with open_plain_scratch(session) as box:
            return _value_of(box, code)
    except ExecTimeout as error:
        raise CannotScore(f"scoring does not end: {error}") from error
    except (SandboxError, TimeoutError) as error:
        raise NoSandbox(f"no sandbox to score in: {error}") from error
    except SnapshotError as error:
        raise CannotScore(str(error)) from error


def _value_of(box: ScratchBox, code: str) -> Score:
    said = box.evaluate(code, timeout_s=SCORE_TIMEOUT_S)
    if said.status == "timeout":
        raise CannotScore(f"scoring took more than {SCORE_TIMEOUT_S:g} s")
    if said.status != "ok" or said.value is None:
        message = f"{said.error.type}: {said.error.message}" if said.error is not None else said.status
        raise CannotScore(f"scoring failed: {message}")
    try:
        value = float(json.loads(said.value.strip("'").replace("True", "true").replace("False", "false")))
    except (ValueError, TypeError):
        raise CannotScore(f"the score is not True, False or a number: {said.value[:100]}") from None
    if not 0 <= value <= 1:
        raise CannotScore(f"the score {value:g} is not between 0 and 1")
    return Score(value)
