"""Example tasks: long contexts that every machine has or can make, with questions whose answers are known."""

from runs.examples.answers import Expected, Verdict
from runs.examples.registry import Choice, all_examples, example, first_session_example
from runs.examples.types import Built, Example, ExampleError, Tag

__all__ = [
    "Built",
    "Choice",
    "Example",
    "ExampleError",
    "Expected",
    "Tag",
    "Verdict",
    "all_examples",
    "example",
    "first_session_example",
]
