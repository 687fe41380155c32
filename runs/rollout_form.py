"""The form that starts a rollout."""

from __future__ import annotations

from typing import Any

from django import forms

from runs.replay.changes import Changes
from runs.replay.rollouts.costs import Rest
from runs.replay.rollouts.scorers import InvalidScorer, Scorer, scorer_from_plain
from runs.replay.rollouts.starting import MOST_PER_STEP
from runs.templatetags.quantities import usd
from runs.text import scrub

SCORERS = (
    ("exact", "The answer is exactly the expected one (case, spaces and a final full stop do not count)"),
    ("contains", "The answer contains the expected text"),
    ("numeric", "The last number in the answer is the expected one"),
    ("regex", "The answer matches a regular expression"),
    ("python", "A Python function decides, in a sandbox"),
    ("judge", "The session's root model judges by a rubric"),
)
PYTHON_EXAMPLE = "def score(answer, expected, question):\n    return expected.lower() in answer.lower()\n"
MOST_USD = 1_000_000


class RolloutForm(forms.Form):
    """`rests` are the steps of the node that have a snapshot, with what the session spent after each.

    The names in `data-scorers` say with which scorers a field is used; the others are hidden by the page.
    """

    steps = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one step to branch from."}
    )
    branches = forms.IntegerField(label="Branches from each step", min_value=1, max_value=MOST_PER_STEP, initial=4)
    kind = forms.ChoiceField(label="A branch is right when", choices=SCORERS, initial="exact")
    expected = forms.CharField(
        label="Expected answer",
        required=False,
        widget=forms.Textarea({"rows": 2, "data-scorers": "exact contains numeric python judge"}),
    )
    tolerance = forms.FloatField(
        label="Tolerance", required=False, min_value=0, widget=forms.NumberInput({"data-scorers": "numeric"})
    )
    pattern = forms.CharField(
        label="Regular expression (Python)", required=False, widget=forms.TextInput({"data-scorers": "regex"})
    )
    source = forms.CharField(
        label="Python function",
        required=False,
        initial=PYTHON_EXAMPLE,
        widget=forms.Textarea({"rows": 4, "data-scorers": "python", "spellcheck": "false"}),
    )
    rubric = forms.CharField(
        label="Rubric for the judge",
        required=False,
        widget=forms.Textarea({"rows": 2, "data-scorers": "judge"}),
        help_text="Each branch is one call more, and its cost counts.",
    )
    temperature = forms.FloatField(label="Temperature of the root model", required=False, min_value=0, max_value=2)
    max_cost_usd = forms.FloatField(
        label="Limit on the cost of all branches, in US dollars",
        required=False,
        min_value=0.000001,
        max_value=MOST_USD,
        help_text="When it is reached, branches that run are stopped. Empty: each branch has the session's limits only.",
    )

    def __init__(self, *args: Any, rests: dict[int, Rest], config: dict[str, Any], **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.config = config
        field = self.fields["steps"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(str(step), _words(step, rest)) for step, rest in rests.items()]
        self.fields["temperature"].help_text = _recorded(config)

    def scorer(self) -> Scorer:
        """Raises `InvalidScorer`."""
        data = {name: scrub(value) if isinstance(value, str) else value for name, value in self.cleaned_data.items()}
        kind, expected = data["kind"], data["expected"]
        if kind == "numeric":
            try:
                number = float(expected.replace(",", ""))
            except ValueError:
                raise InvalidScorer(f"{expected[:60]!r} is not a number.") from None
            return scorer_from_plain({"kind": kind, "expected": number, "tolerance": data["tolerance"] or 0.0})
        fields: dict[str, dict[str, Any]] = {
            "exact": {"expected": expected},
            "contains": {"expected": expected},
            "regex": {"pattern": data["pattern"]},
            "python": {"source": data["source"], "expected": expected},
            "judge": {"rubric": data["rubric"], "expected": expected},
        }
        return scorer_from_plain({"kind": kind, **fields[kind]})

    def changes(self) -> Changes:
        """What every branch does differently."""
        temperature = self.cleaned_data["temperature"]
        if temperature is None:
            return Changes()
        root = self.config["root"]
        sampling = {**root.get("sampling", {}), "temperature": temperature}
        return Changes(config={**self.config, "root": {**root, "sampling": sampling}})


def _words(step: int, rest: Rest) -> str:
    where = f"step {step}" if step else "before the first step"
    if not rest.micro_usd and not rest.unpriced_calls:
        return where
    spent = usd(rest.micro_usd) if rest.micro_usd else "an unknown amount"
    least = "at least " if rest.unpriced_calls and rest.micro_usd else ""
    return f"{where}, what followed cost {least}{spent}"


def _recorded(config: dict[str, Any]) -> str:
    temperature = config["root"].get("sampling", {}).get("temperature")
    if temperature == 0:
        return "As recorded it is 0: branches of one step may all be the same."
    return f"Empty: as recorded, {'the default of its API' if temperature is None else f'{temperature:g}'}."
