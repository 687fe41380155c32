"""Right, wrong and adversarial answers: lenient in form, strict in content."""

from __future__ import annotations

import pytest

from runs.examples import ExampleError, Tag
from runs.examples.answers import Expected, FilesAnswer, NameAnswer, NamesAnswer, NumberAnswer

FIVE = NumberAnswer("5")
BASE = NameAnswer("ValueError", ("TypeError", "KeyError", "Exception"))
FILES = FilesAnswer(("json/decoder.py", "re/__init__.py"))
HOSTS = NamesAnswer(("web-02", "web-07"), ("web-01", "web-20"))

NUMBERS_RIGHT = [
    "5",
    "5.0",
    "5.",
    "There are 5 files.",
    "**5**",
    "[5]",
    "five",
    "5 (five)",
    "FINAL(5)",
    r"\boxed{5}",
    "The final answer is **5**.",
    "Answer:\n5",
    "Of 1,790 files, answer: 5",
    "I counted 7 at first, but the answer is 5.",
    "The answer is 5. I read 12 files.",
    "not 6 but 5",
]
NUMBERS_WRONG = [
    "",
    "6",
    "-5",
    "15",
    "3.5",
    "5,000",
    "five or six",
    "either 5 or 6",
    "between 4 and 6",
    "5-10",
    "5/10",
    "not 5",
    "It isn't 5",
    "The answer is not 5",
    "The answer is 5. No, the answer is 6.",
    "The answer is 5. Or 6.",
    "Answer: 5 or 6",
    "host-5",
    "utf5",
    "2024-05-05",
    "I do not know.",
]


@pytest.mark.parametrize("text", NUMBERS_RIGHT)
def test_a_number_is_found_in_prose_and_literals(text: str) -> None:
    assert FIVE.check(text).correct, FIVE.check(text)


@pytest.mark.parametrize("text", NUMBERS_WRONG)
def test_another_number_a_choice_or_a_denial_is_wrong(text: str) -> None:
    verdict = FIVE.check(text)

    assert not verdict.correct
    assert verdict.expected == "5"
    assert verdict.reason


@pytest.mark.parametrize(
    "text", ["12345.67", "12,345.67", "The revenue was $12,345.67.", "12345.6700000001", "12_345.67"]
)
def test_a_decimal_may_carry_separators_and_rounding(text: str) -> None:
    assert NumberAnswer("12345.67", tolerance="0.01").check(text).correct


@pytest.mark.parametrize("text", ["12345", "12345.7", "1234567", "12.34567"])
def test_a_decimal_outside_its_tolerance_is_wrong(text: str) -> None:
    assert not NumberAnswer("12345.67", tolerance="0.01").check(text).correct


def test_an_answer_may_repeat_the_numbers_of_its_question() -> None:
    expected = NumberAnswer("17", mentioned=("503",))

    assert expected.check("There are 17 lines with status=503.").correct
    assert not expected.check("There are 503 lines.").correct


def test_a_number_of_the_question_counts_where_it_is_the_answer() -> None:
    assert NumberAnswer("503", mentioned=("503",)).check("503").correct


@pytest.mark.parametrize(
    "text",
    [
        "ValueError",
        "`ValueError`",
        "It inherits from ValueError.",
        "class JSONDecodeError(ValueError):",
        "[('ValueError', 3)]",
        "not TypeError but ValueError",
        "valueerror",
    ],
)
def test_a_name_is_found_in_prose_and_literals(text: str) -> None:
    assert BASE.check(text).correct, BASE.check(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TypeError",
        "MyValueError",
        "not ValueError",
        "either ValueError or TypeError",
        "ValueError or Something",
        "Something or ValueError",
        "ValueError, KeyError",
    ],
)
def test_another_name_a_choice_or_a_denial_of_a_name_is_wrong(text: str) -> None:
    assert not BASE.check(text).correct


def test_a_candidate_that_contains_another_is_only_itself() -> None:
    assert NameAnswer("/v1/orders/history", ("/v1/orders",)).check("/v1/orders/history").correct
    assert not NameAnswer("/v1/orders", ("/v1/orders/history",)).check("/v1/orders/history").correct


@pytest.mark.parametrize(
    "text",
    [
        "json/decoder.py, re/__init__.py",
        "['re/__init__.py', 'json/decoder.py']",
        "- json/decoder.py\n- re/__init__.py",
        "/usr/lib/python3.12/json/decoder.py\n/usr/lib/python3.12/re/__init__.py",
        "json.decoder and re",
        "# === file: json/decoder.py === and # === file: re/__init__.py ===",
        "The answer is:\n1. json/decoder.py\n2. re/__init__.py",
    ],
)
def test_files_may_come_in_any_order_and_form(text: str) -> None:
    assert FILES.check(text).correct, FILES.check(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "json/decoder.py",
        "json/decoder.py re/__init__.py ast.py",
        "decoder.py, re/__init__.py",
        "other/json/decoder.py, re/__init__.py",
        "I could not find them.",
    ],
)
def test_a_file_list_with_one_missing_or_one_too_many_is_wrong(text: str) -> None:
    assert not FILES.check(text).correct


def test_a_choice_between_files_is_wrong() -> None:
    assert not FilesAnswer(("ast.py",)).check("ast.py or dis.py").correct
    assert not FilesAnswer(("ast.py",)).check("either ast.py or so").correct


def test_a_list_of_names_says_what_is_missing_and_what_is_too_many() -> None:
    assert HOSTS.check("web-07 and web-02").correct
    assert HOSTS.check("['web-02', 'web-07']").correct
    assert HOSTS.check("web-02").reason == "Missing: web-07."
    assert HOSTS.check("web-02, web-07, web-20").reason == "Too many: web-20."


@pytest.mark.parametrize("expected", [FIVE, BASE, FILES, HOSTS])
def test_a_tag_judges_as_the_example_did(expected: Expected) -> None:
    tag = Tag.decode(Tag("stdlib", "kind", 3, expected).encode())

    assert tag.expected == expected
    assert tag.check(expected.shown).correct


@pytest.mark.parametrize("text", ["", "{}", "null", '{"slug": 3}', "\ud800"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ExampleError, match="no tag"):
        Tag.decode(text)


@pytest.mark.parametrize("expected", [FIVE, BASE, FILES, HOSTS])
def test_a_hostile_answer_is_judged_without_trouble(expected: Expected) -> None:
    for text in ("answer is " * 200_000, "or " * 500_000, "not " * 500_000 + "5", "1" * 1_000_000, "\x00\u202e5,"):
        assert not expected.check(text).correct or "5" in text
