"""The standard library as a context: the facts on a library of a few files, then the real one."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import pytest

from runs.examples import Built, example
from runs.examples.stdlib import lines, questions, sources
from runs.examples.stdlib.facts import file_facts
from runs.examples.stdlib.library import Library
from runs.examples.types import ExampleError, NoQuestionFits

CORE = '''
import json.decoder
from . import local
from collections.abc import Mapping as M

DEFAULT_PORT = 8080
HEX_MASK = 0xFF
DEBUG = True


class Reader(ValueError):
    """Not one: class Ghost(Reader)"""

    def read(self, size, *rest, key=None, **options):
        def inner(size): ...
        return lambda size: size


class Both(Reader, M): ...


async def main(size, /): ...
'''


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


@pytest.fixture
def library_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of a few files in the place of the real one."""
    folder = tmp_path / "lib"
    monkeypatch.setattr(sources, "_root", lambda: folder)
    monkeypatch.setattr(sources, "_known_facts", {})
    return folder


def test_definitions_are_counted_by_syntax_and_not_by_text() -> None:
    facts = file_facts("core.py", CORE)

    assert facts.classes == [("Reader", "ValueError"), ("Both", "")]
    assert facts.functions == 3
    assert facts.top_functions == {"main"}
    assert facts.parameters == {"size": 3, "self": 1, "rest": 1, "key": 1, "options": 1}


def test_imports_have_their_packages_and_no_relative_ones() -> None:
    assert file_facts("core.py", CORE).imports == {"json", "json.decoder", "collections", "collections.abc"}


def test_constants_are_decimal_numbers_at_the_top() -> None:
    facts = file_facts("core.py", CORE)

    assert facts.constants == [("DEFAULT_PORT", 8080)]
    assert facts.bound["DEBUG"] == 1


def test_a_form_feed_makes_lines_doubtful() -> None:
    assert file_facts("plain.py", "a = 1\n").plain_lines
    assert not file_facts("old.py", "a = 1\n\f\nb = 2\n").plain_lines


def test_files_are_joined_by_header_lines(library_folder: Path, tmp_path: Path) -> None:
    written(library_folder, {"b.py": "b = 1\r\n", "a/c.py": "c = 1", "a/empty.py": ""})
    sources.write_context(sources.context_files(0, None), tmp_path / "context")

    assert (tmp_path / "context").read_text() == (
        "# === file: a/c.py ===\nc = 1\n# === file: a/empty.py ===\n# === file: b.py ===\nb = 1\n"
    )


def test_what_is_no_library_source_is_left_out(library_folder: Path) -> None:
    written(
        library_folder,
        {
            "good.py": "a = 1\n",
            "site-packages/theirs.py": "a = 1\n",
            "__pycache__/cached.py": "a = 1\n",
            "bad_syntax.py": "def :\n",
            "null.py": "a = '\0'\n",
            "data.txt": "text\n",
        },
    )
    (library_folder / "latin.py").write_bytes(b"# \xe9\n")
    (library_folder / "loop").symlink_to(library_folder)

    assert [file.name for file in sources.context_files(0, None)] == ["good.py"]


def test_tests_are_added_only_where_the_library_alone_is_small(
    library_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(library_folder, {"a.py": "a = 1\n" * 50, "test/test_a.py": "a = 1\n", "json/tests/b.py": "a = 1\n"})

    assert [file.name for file in sources.context_files(0, None)] == ["a.py", "json/tests/b.py", "test/test_a.py"]
    monkeypatch.setattr(sources, "ENOUGH_BYTES", 100)
    assert [file.name for file in sources.context_files(0, None)] == ["a.py"]


def test_a_library_without_source_says_so(library_folder: Path) -> None:
    with pytest.raises(ExampleError, match="only compiled files"):
        sources.context_files(0, None)
    library_folder.mkdir()
    with pytest.raises(ExampleError, match="only compiled files"):
        sources.context_files(0, None)


def test_a_context_that_offers_no_question_says_so(library_folder: Path) -> None:
    written(library_folder, {"a.py": "a = 1\n"})

    with pytest.raises(NoQuestionFits, match="Choose a larger one"):
        questions.defines_class(Library(sources.context_files(0, None)), random.Random(1))


def test_a_word_that_is_a_part_of_others_is_not_asked_for(
    library_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(library_folder, {"a.py": "# daemon daemons daemon daemon\n# checksum checksum\n", "checksum.py": "\n"})
    monkeypatch.setattr(lines, "_WORDS", ("daemon", "checksum"))

    question, expected = lines.word_occurrences(Library(sources.context_files(0, None)), random.Random(1))

    assert '"checksum"' in question
    assert expected.check("3").correct, "twice in the text and once in a header line"


def real(kind: str, seed: int, tmp_path: Path, size_bytes: int | None = None) -> Built:
    return example("stdlib").build(tmp_path / "context", seed=seed, question_kind=kind, size_bytes=size_bytes)


@pytest.mark.parametrize("kind", ["lines-containing", "lines-starting", "word-occurrences"])
def test_the_code_that_a_model_would_write_finds_the_answer(kind: str, tmp_path: Path) -> None:
    built = real(kind, 4, tmp_path, size_bytes=3_000_000)
    context = built.path.read_text(encoding="utf-8")
    asked = built.question.split('"')[1]

    found = {
        "lines-containing": lambda: sum(asked in line for line in context.splitlines()),
        "lines-starting": lambda: sum(line.startswith(asked) for line in context.splitlines()),
        "word-occurrences": lambda: context.count(asked),
    }
    assert built.check(str(found[kind]())).correct


def test_every_file_of_the_real_context_is_a_file_of_the_library(tmp_path: Path) -> None:
    built = real("longest-file", 1, tmp_path)
    context = built.path.read_text(encoding="utf-8")
    names = [line[12:-4] for line in context.splitlines() if line.startswith("# === file: ")]
    folder = Path(sysconfig.get_path("stdlib"))

    assert built.size_bytes >= 10_000_000
    assert names == sorted(set(names))
    assert all((folder / name).is_file() for name in names)
    assert "json/decoder.py" in names


@pytest.mark.parametrize("seed", range(3))
def test_a_class_asked_for_stands_in_the_context_with_its_base(seed: int, tmp_path: Path) -> None:
    built = real("base-class", seed, tmp_path)
    name = built.question.removeprefix("Which class does the class ").split()[0]

    assert f"class {name}({built.answer})" in built.path.read_text(encoding="utf-8")
