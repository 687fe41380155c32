"""The form of a fork: everything that was recorded, to be changed. What it builds is checked and tried by the services."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict

from runs.form_config import ConfigForm, Row
from runs.models import LmCredential, NodeMessage
from runs.replay.changes import Changes, VariableChange, VariableKind
from runs.replay.forks.past import Recorded
from runs.services.config import SessionConfig, config_to_plain
from runs.services.sessions import TITLE_CHARS
from runs.text import scrub

MAX_VARIABLES = 20
EMPTY_ROWS = 2
MAX_FIELD_CHARS = 1_000_000
KINDS: tuple[tuple[VariableKind, str], ...] = (
    ("expression", "Python expression"),
    ("json", "JSON"),
    ("text", "text"),
    ("delete", "delete it"),
)
LABELS = {
    "reply": "The model's reply, with the code of its cells",
    "question": "Question",
    "system_prompt": "System prompt",
}
TOO_LONG = {"max_length": "%(show_value)s characters; the most is %(limit_value)s."}


class ForkForm(ConfigForm):
    """`changes` gives what is changed in a valid form."""

    title = forms.CharField(required=False, max_length=TITLE_CHARS, widget=forms.TextInput({"dir": "auto"}))

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        past: Recorded,
        recorded: SessionConfig,
        credentials: QuerySet[LmCredential],
    ) -> None:
        texts = {
            "reply": past.reply,
            "question": past.question,
            "system_prompt": past.system_prompt,
            **{f"message-{row.position}": row.content for row in past.messages},
        }
        initial = {"title": past.title, **texts}
        super().__init__(data, recorded=recorded, credentials=credentials, initial=initial)
        self.past = past
        rows = {"reply": 10, "question": 3, "system_prompt": 14}
        labels = LABELS | {f"message-{row.position}": _message_label(row) for row in past.messages}
        for name in texts:
            self.fields[name] = _text_field(labels[name], rows.get(name, 5), code=name != "question")
        for number in range(MAX_VARIABLES):
            self.fields.update(_variable_fields(number))
        self.keep_unsent()

    @property
    def message_rows(self) -> list[Row]:
        return [self.row(f"message-{row.position}") for row in self.past.messages]

    @property
    def messages_changed(self) -> bool:
        return any(row.changed or row.field.errors for row in self.message_rows)

    @property
    def reply_row(self) -> Row:
        return self.row("reply")

    @property
    def question_row(self) -> Row:
        return self.row("question")

    @property
    def system_row(self) -> Row:
        return self.row("system_prompt")

    @property
    def variable_rows(self) -> list[tuple[forms.BoundField, forms.BoundField, forms.BoundField]]:
        """(name, kind, value): those that were filled in, and some to fill in."""
        filled = [n for n in range(MAX_VARIABLES) if self.raw(f"variable-{n}") or self.raw(f"expression-{n}")]
        shown = range(min(MAX_VARIABLES, (filled[-1] + 1 if filled else 0) + EMPTY_ROWS))
        return [(self[f"variable-{n}"], self[f"kind-{n}"], self[f"expression-{n}"]) for n in shown]

    def changes(self) -> Changes:
        config = self.build_config()
        return Changes(
            reply=self._text("reply") or None,
            question=self._text("question"),
            system_prompt=self._text("system_prompt"),
            messages={
                row.position: text
                for row in self.past.messages
                if (text := self._text(f"message-{row.position}")) is not None
            },
            variables=list(self._variables()),
            config=None if config == self.recorded else config_to_plain(config),
        )

    def _text(self, name: str) -> str | None:
        """What was typed into a field, if it is not what stood there."""
        return _typed(self.cleaned_data[name]) if self.touched(name) else None

    def _variables(self) -> list[VariableChange]:
        found = []
        for number in range(MAX_VARIABLES):
            name, value = self.cleaned_data[f"variable-{number}"], _typed(self.cleaned_data[f"expression-{number}"])
            kind = cast("VariableKind", self.cleaned_data[f"kind-{number}"] or "expression")
            if name or value.strip():
                found.append(VariableChange(name, "" if kind == "delete" else value, kind))
        return found


def _message_label(row: NodeMessage) -> str:
    step = f", step {row.step_number}" if row.step_number else ""
    return f"{row.position + 1}. {row.role}{step}"


def _typed(text: str) -> str:
    return scrub(text.replace("\r\n", "\n"))


def _text_field(label: str, rows: int, *, code: bool) -> forms.CharField:
    look = {"class": "code", "spellcheck": "false"} if code else {}
    return forms.CharField(
        label=label,
        required=False,
        strip=False,
        max_length=MAX_FIELD_CHARS,
        # Said by the server with its reason: a browser would cut what is pasted without a word.
        widget=_Textarea({"rows": rows, "dir": "auto", **look}),
        error_messages=TOO_LONG,
    )


class _Textarea(forms.Textarea):
    def build_attrs(self, base_attrs: dict[str, Any], extra_attrs: dict[str, Any] | None = None) -> dict[str, Any]:
        attrs = super().build_attrs(base_attrs, extra_attrs)
        attrs.pop("maxlength", None)
        return attrs


def _variable_fields(number: int) -> dict[str, forms.Field]:
    label = f"variable {number + 1}"
    return {
        f"variable-{number}": forms.CharField(
            label=f"Name of {label}",
            required=False,
            max_length=200,
            widget=forms.TextInput(
                {
                    "list": "names",
                    "placeholder": "name",
                    "aria-label": f"Name of {label}",
                    "class": "code",
                    "spellcheck": "false",
                    "autocomplete": "off",
                }
            ),
        ),
        f"kind-{number}": forms.ChoiceField(
            label=f"What is given for {label}",
            required=False,
            choices=KINDS,
            initial="expression",
            widget=forms.Select({"aria-label": f"What is given for {label}"}),
        ),
        f"expression-{number}": forms.CharField(
            label=f"New value of {label}",
            required=False,
            strip=False,
            max_length=MAX_FIELD_CHARS,
            error_messages=TOO_LONG,
            widget=_Textarea(
                {
                    "rows": 1,
                    "placeholder": "value",
                    "aria-label": f"New value of {label}",
                    "class": "code",
                    "spellcheck": "false",
                }
            ),
        ),
    }
