"""What an example task is: a context that is built, a question about it, and the answer that was computed beside it.

Nothing here asks a model: whoever builds an example knows its answer, and `Expected` judges what a session answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runs.examples.answers import Expected, Verdict


class ExampleError(ValueError):
    """An example could not be built. The message says which and what to do."""


class UnknownExample(ExampleError):
    def __init__(self, slug: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no example task named {slug!r}. Choose one of: {', '.join(known)}.")
        self.slug = slug


class UnknownQuestionKind(ExampleError):
    def __init__(self, slug: str, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(f"The example {slug!r} has no question kind {kind!r}. Choose one of: {', '.join(known)}.")
        self.kind = kind


class SizeOutOfRange(ExampleError):
    def __init__(self, slug: str, size_bytes: int, low: int, high: int) -> None:
        super().__init__(f"The example {slug!r} can have {low} to {high} bytes, not {size_bytes}.")
        self.size_bytes = size_bytes


class NoQuestionFits(ExampleError):
    """The context offers nothing that this kind of question could ask about without doubt: usually it is too small."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"The context offers no clear question of the kind {kind!r}. Choose a larger one.")
        self.kind = kind


class Tag(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session keeps of its example, so that its answer can be judged without building the context again."""

    slug: str
    question_kind: str
    seed: int
    expected: Expected

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Tag:
        """Raises `ExampleError` when the text is no tag."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise ExampleError(f"This is no tag of an example task: {error}") from error

    def check(self, answer: str) -> Verdict:
        return self.expected.check(answer)


@dataclass(frozen=True)
class Task:
    """What a builder hands back: the question, its answer, and one sentence about the context it wrote."""

    question: str
    expected: Expected
    note: str


@dataclass(frozen=True)
class Order:
    """What a builder is asked for. `size_bytes` is None where the example's own size is wanted."""

    path: Path
    question_kind: str
    seed: int
    size_bytes: int | None


@dataclass(frozen=True)
class Built:
    """An example that is ready to run. The context is at `path`, UTF-8, and belongs to the caller."""

    slug: str
    question_kind: str
    seed: int
    title: str
    question: str
    path: Path
    size_bytes: int
    expected: Expected
    note: str

    @property
    def answer(self) -> str:
        return self.expected.shown

    @property
    def tag(self) -> str:
        """For `SessionConfig.example`."""
        return Tag(self.slug, self.question_kind, self.seed, self.expected).encode()

    def check(self, answer: str) -> Verdict:
        return self.expected.check(answer)


@dataclass(frozen=True)
class Example:
    """One example task of the catalogue.

    `question` is one of the questions it asks, for a list; the question of a session comes from `build`.
    `kind` is the kind of the context, in the words of `runs.models.Context.Kind`.
    """

    slug: str
    title: str
    summary: str
    question: str
    question_kinds: tuple[str, ...]
    builder: Callable[[Order], Task]
    size_bytes_hint: int
    min_size_bytes: int
    max_size_bytes: int = 50_000_000
    small_model_kinds: tuple[str, ...] = ()
    """Question kinds that a model of one or two billion parameters can be expected to answer."""
    kind: str = "text"

    def build(
        self, path: Path, *, seed: int = 0, size_bytes: int | None = None, question_kind: str | None = None
    ) -> Built:
        """Write the context to `path` and say what is asked about it. The same arguments give the same result.

        Without `question_kind` the seed chooses one. `size_bytes` is met to within one record or file. Raises
        `UnknownQuestionKind`, `SizeOutOfRange`, `NoQuestionFits`.
        """
        if size_bytes is not None and not self.min_size_bytes <= size_bytes <= self.max_size_bytes:
            raise SizeOutOfRange(self.slug, size_bytes, self.min_size_bytes, self.max_size_bytes)
        kind = question_kind or self.question_kinds[seed % len(self.question_kinds)]
        if kind not in self.question_kinds:
            raise UnknownQuestionKind(self.slug, kind, self.question_kinds)
        task = self.builder(Order(path=path, question_kind=kind, seed=seed, size_bytes=size_bytes))
        return Built(
            slug=self.slug,
            question_kind=kind,
            seed=seed,
            title=self.title,
            question=task.question,
            path=path,
            size_bytes=path.stat().st_size,
            expected=task.expected,
            note=task.note,
        )
