"""The forms of the runs room. They check what people enter and build what services take; they write nothing."""

from __future__ import annotations

import time
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, QueryDict

from rlmweb.teams.models import ApiToken, Team
from rlmweb.teams.tokens import ALL_SCOPES
from runs.access import User, context_for, credentials_of, teams_to_start_in
from runs.engine.limits import Limits
from runs.examples import all_examples
from runs.form_config import SAME, SNAPSHOTS, grouped
from runs.form_limits import PREFIX, form_fields, initial_values, limits_from
from runs.lm.addresses import check_base_url
from runs.lm.errors import LmRefusedAddress
from runs.models import Context
from runs.provider_forms import NEEDS_PREFIX, needs_fields, needs_from, needs_initial
from runs.services import choices
from runs.services.config import Determinism, InvalidConfig, ModelConfig, SessionConfig
from runs.text import scrub
from sandboxes.accounts.keeping import order_of
from sandboxes.needs import Needs
from sandboxes.registry import PROVIDERS
from sandboxes.status import local_status
from sandboxes.vendors import LOCAL, TITLES

MAX_QUESTION_CHARS = 200_000
MAX_SEED = 2**31 - 1
SOURCES = (
    ("example", "Example"),
    ("paste", "Paste"),
    ("upload", "Upload"),
    ("path", "File on the server"),
    ("url", "Web address"),
)
KINDS = (("", "as it looks"), ("text", "text"), ("json", "JSON"), ("bytes", "bytes"))
SIZES = (
    ("", "its own size"),
    (10**4, "10 KB"),
    (10**5, "100 KB"),
    (10**6, "1 MB"),
    (10**7, "10 MB"),
    (5 * 10**7, "50 MB"),
)


class StartForm(forms.Form):
    """Everything about a new session. `build_config` gives its configuration once the form is valid."""

    team = forms.ModelChoiceField(Team.objects.none(), to_field_name="slug", empty_label=None, required=False)
    title = forms.CharField(required=False, max_length=200)
    question = forms.CharField(
        required=False, max_length=MAX_QUESTION_CHARS, widget=forms.Textarea({"rows": 3, "autofocus": True})
    )
    source = forms.ChoiceField(choices=SOURCES, widget=forms.RadioSelect)
    context = forms.CharField(required=False, widget=forms.HiddenInput)
    text = forms.CharField(required=False, strip=False, widget=forms.Textarea({"rows": 10, "spellcheck": "false"}))
    file = forms.FileField(required=False, allow_empty_file=True)
    path = forms.CharField(required=False, max_length=4096)
    url = forms.CharField(required=False, max_length=4096, label="Address")
    kind = forms.ChoiceField(required=False, choices=KINDS, label="The code sees it as")
    example = forms.ChoiceField(required=False, choices=())
    example_question = forms.ChoiceField(required=False, choices=(), label="Question")
    example_size = forms.TypedChoiceField(required=False, choices=SIZES, coerce=int, empty_value=None, label="Size")
    example_seed = forms.IntegerField(required=False, min_value=0, max_value=MAX_SEED, initial=1, label="Seed")
    root = forms.ChoiceField(choices=(), label="Root model")
    root_model = forms.CharField(required=False, max_length=200, label="Model name")
    sub = forms.ChoiceField(choices=(), label="Sub-call model")
    sub_model = forms.CharField(required=False, max_length=200, label="Model name")
    provider = forms.ChoiceField(choices=())
    fall_back = forms.BooleanField(required=False, label="Go on elsewhere when it has no room")
    tier = forms.ChoiceField(required=False, choices=(), label="Isolation")
    compaction = forms.BooleanField(required=False, label="Summarise long conversations")
    snapshots = forms.ChoiceField(
        required=False,
        choices=SNAPSHOTS,
        help_text="A step with a snapshot can be looked into, executed again and forked from.",
    )
    freeze_clock = forms.BooleanField(required=False, label="Freeze the clock")
    random_seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_SEED,
        label="Seed of randomness",
        help_text="For everything that the code draws at random. Empty: as it comes.",
    )

    def __init__(self, user: User, data: Any = None, files: Any = None, *, initial: Any = None) -> None:
        defaults = {
            "source": "example",
            "example": all_examples()[0].slug,
            "example_question": "",
            "root": choices.default_choice(),
            "sub": SAME,
            "provider": "",
            "fall_back": True,
            "compaction": True,
            "snapshots": "every",
            **initial_values(),
            **needs_initial(Needs()),
        }
        super().__init__(data, files, initial=defaults | (initial or {}))
        self.user = user
        self.credentials = list(credentials_of(user))
        self.fields.update(form_fields())
        self.fields.update(needs_fields())
        self.order = self._order()
        self.initial["provider"] = self.initial["provider"] or self.order[0]
        self._offer("provider", [(name, TITLES.get(name, name)) for name in PROVIDERS])
        self._offer("team", teams_to_start_in(user))
        models = grouped(choices.options(self.credentials))
        self._offer("root", models)
        self._offer("sub", [(SAME, "the same as the root model"), *models])
        self._offer("tier", [("", "the strongest that works here"), *((name, name) for name in local_status().passed)])
        self._offer("example", [(example.slug, example.title) for example in all_examples()])
        kinds = {kind: None for example in all_examples() for kind in example.question_kinds}
        self._offer("example_question", [("", "chosen by the seed"), *((kind, kind) for kind in kinds)])
        self._offer("source", [(value, label) for value, label in SOURCES if _offered(value)])

    def _order(self) -> list[str]:
        """The providers of the team in which the session starts, the default first."""
        teams = teams_to_start_in(self.user)
        team = teams.filter(slug=self.data.get("team", "")).first() or teams.first()
        return order_of(team) if team is not None else [LOCAL]

    def _offer(self, name: str, values: Any) -> None:
        field = self.fields[name]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = values
        else:
            assert isinstance(field, forms.ChoiceField)
            field.choices = values

    @property
    def offers_path(self) -> bool:
        return _offered("path")

    @property
    def offers_url(self) -> bool:
        return _offered("url")

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(PREFIX)]

    @property
    def folded_errors(self) -> bool:
        """Is there an error in the part of the form that is folded away?"""
        return any(field.errors for field in self.limit_fields)

    @property
    def needs(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(NEEDS_PREFIX)]

    @property
    def needs_errors(self) -> bool:
        return any(field.errors for field in self.needs)

    def clean_question(self) -> str:
        return scrub(self.cleaned_data["question"])

    def clean_text(self) -> str:
        """Browsers send the lines of a text area with CRLF, whatever was pasted."""
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")

    def carry(self, context: Context) -> None:
        """Let the form hold this context when it is shown again."""
        data = QueryDict(mutable=True)
        data.update(self.data)
        data["context"] = str(context.uuid)
        self.data = data

    def clean_context(self) -> Context | None:
        uuid = self.cleaned_data["context"]
        if not uuid:
            return None
        try:
            return context_for(self.user, uuid)
        except Http404:
            raise forms.ValidationError("The context is gone. Choose one again.") from None

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if not cleaned.get("question") and cleaned.get("source") != "example" and "question" not in self.errors:
            self.add_error("question", "Ask something about the context.")
        self._check_team(cleaned)
        self._check_source(cleaned)
        self._check_model("root")
        if cleaned.get("sub") != SAME:
            self._check_model("sub")
        return cleaned

    def _check_team(self, cleaned: dict[str, Any]) -> None:
        context, team = cleaned.get("context"), cleaned.get("team")
        if context is not None and team is not None and context.team_id != team.pk:
            self.add_error("team", f"The context belongs to {context.team.name}. Start there, or choose it again.")

    def _check_source(self, cleaned: dict[str, Any]) -> None:
        source = cleaned.get("source")
        if source is None or cleaned.get("context") is not None or "context" in self.errors:
            return
        missing = {
            "paste": ("text", "Paste the text to work on."),
            "upload": ("file", "Choose a file to work on."),
            "path": ("path", "Give the path of a file on the server."),
            "url": ("url", "Give the address of a file."),
            "example": ("example", "Choose an example."),
        }
        name, message = missing[source]
        if name not in self.errors and not cleaned.get(name):
            self.add_error(name, message)

    def _check_model(self, role: str) -> None:
        try:
            self._model(role)
        except InvalidConfig as error:
            self.add_error(role, str(error))
        except KeyError:
            return  # the choice itself was refused already

    def _model(self, role: str) -> ModelConfig:
        cleaned = self.cleaned_data
        return choices.model_named(cleaned[role], cleaned.get(f"{role}_model", ""), self.credentials)

    def limits(self) -> Limits:
        return limits_from(self.cleaned_data)

    def build_config(self, example: str = "") -> SessionConfig:
        cleaned = self.cleaned_data
        return SessionConfig(
            root=self._model("root"),
            sub=None if cleaned["sub"] == SAME else self._model("sub"),
            limits=self.limits(),
            provider=cleaned["provider"],
            fallback=tuple(name for name in self.order if name != cleaned["provider"]) if cleaned["fall_back"] else (),
            sandbox=needs_from(cleaned),
            tier=cleaned["tier"] if cleaned["provider"] == LOCAL else "",
            compaction=cleaned["compaction"],
            snapshots=cleaned["snapshots"] or "every",
            determinism=Determinism(
                clock=float(int(time.time())) if cleaned["freeze_clock"] else None, seed=cleaned["random_seed"]
            ),
            example=example,
        )


class KeyForm(forms.Form):
    """A new key of a team. The key is write-only: it is never put into a page, not even after an error."""

    team = forms.ModelChoiceField(Team.objects.none(), to_field_name="slug", empty_label=None)
    name = forms.CharField(max_length=100)
    api = forms.ChoiceField(choices=tuple(choices.API_NAMES.items()), label="API")
    base_url = forms.CharField(
        required=False,
        max_length=500,
        label="Base URL",
        help_text="Empty: the vendor's own. Ends before /chat/completions.",
    )
    key = forms.CharField(
        required=False,
        max_length=4096,
        widget=forms.PasswordInput({"autocomplete": "off"}),
        help_text="Stored encrypted, and only ever sent to this address. Empty for endpoints that need none.",
    )
    input_price = forms.DecimalField(
        required=False, min_value=0, max_digits=12, decimal_places=6, label="Input price (USD per million tokens)"
    )
    output_price = forms.DecimalField(
        required=False, min_value=0, max_digits=12, decimal_places=6, label="Output price (USD per million tokens)"
    )

    def __init__(self, teams: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = teams

    def clean_base_url(self) -> str:
        url = str(self.cleaned_data["base_url"]).strip().rstrip("/")
        if url:
            try:
                check_base_url(url, settings.MODEL_HOSTS)
            except LmRefusedAddress as error:
                raise forms.ValidationError(str(error)) from error
        return url

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if not cleaned.get("key") and not cleaned.get("base_url") and "base_url" not in self.errors:
            self.add_error("key", "The vendor's own address needs a key.")
        if (cleaned.get("input_price") is None) != (cleaned.get("output_price") is None):
            self.add_error("output_price", "Give both prices or none.")
        return cleaned


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(max_length=100)
    days = forms.TypedChoiceField(
        choices=((30, "30 days"), (90, "90 days"), (365, "a year")), coerce=int, initial=90, label="Valid for"
    )
    scopes = forms.MultipleChoiceField(
        choices=ApiToken.Scope.choices,
        initial=list(ALL_SCOPES),
        widget=forms.CheckboxSelectMultiple,
        label="For",
        help_text="Never more than your own role in the team allows.",
    )
    team = forms.ModelChoiceField(Team.objects.none(), to_field_name="slug", empty_label=None)

    def __init__(self, teams: QuerySet[Team], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = teams


def _offered(source: str) -> bool:
    """Is this way to give a context switched on?"""
    switches = {"path": settings.CONTEXT_PATHS, "url": settings.CONTEXT_HOSTS}
    return bool(switches.get(source, True))
