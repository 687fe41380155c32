"""The configuration of a recorded session as form fields: models, sampling, limits, provider, behaviour.

What is left as it stands stays as recorded to the last bit, also where the form could not have made it: an API's own
options, limits between two units, a key that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec
from django import forms
from django.db.models import QuerySet
from django.http import QueryDict

from runs.engine.limits import Limits
from runs.form_limits import FIELDS, PREFIX, form_fields, initial_values, limits_from
from runs.form_words import ROLES
from runs.models import LmCredential
from runs.services import choices
from runs.services.config import (
    MAX_CLOCK_S,
    MAX_SEED,
    Determinism,
    InvalidConfig,
    ModelConfig,
    SamplingConfig,
    SessionConfig,
    SnapshotPolicy,
)
from runs.services.config_check import check_config
from sandboxes.registry import PROVIDERS
from sandboxes.status import local_status

KEEP = "recorded"
SAME = "same"
SAMPLING = ("temperature", "top_p", "max_output_tokens", "seed")
PROVIDER_NAMES = {"local": "This machine"}
YES_NO = (("yes", "yes"), ("no", "no"))
SNAPSHOTS = (("every", "after every step"), ("last", "at the end of each node"), ("off", "none"))
LONG_CHARS = 80
NUMBER = {"step": "any"}


@dataclass(frozen=True, slots=True)
class Row:
    """A field and what was recorded in it: `raw` as the form would send it, `shown` for people."""

    field: forms.BoundField
    changed: bool
    raw: str
    shown: str

    @property
    def long(self) -> bool:
        return len(self.shown) > LONG_CHARS or "\n" in self.shown


@dataclass(frozen=True, slots=True)
class ModelRows:
    """The fields of one model. `named`: the recorded one has a name that can be changed and its key kept."""

    role: str
    choice: Row
    name: Row
    sampling: list[Row]
    named: bool


class ConfigForm(forms.Form):
    """Fields for `recorded`, the configuration of a session. `build_config` gives the changed one of a valid form."""

    provider = forms.ChoiceField(required=False, choices=())
    tier = forms.ChoiceField(required=False, choices=(), label="Isolation")
    snapshots = forms.ChoiceField(required=False, choices=SNAPSHOTS)
    compaction = forms.ChoiceField(required=False, choices=YES_NO, label="Summarise long conversations")
    clock = forms.FloatField(
        required=False,
        min_value=0,
        max_value=MAX_CLOCK_S,
        label="Clock starts at (Unix time, s)",
        help_text="Empty: the real time.",
        widget=forms.NumberInput(NUMBER),
    )
    random_seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_SEED,
        label="Seed of randomness",
        help_text="Empty: as it comes.",
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        recorded: SessionConfig,
        credentials: QuerySet[LmCredential],
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=_initial(recorded) | (initial or {}), auto_id="%s")
        self.recorded = recorded
        self.credentials = list(credentials)
        for role in ROLES:
            self.fields.update(_model_fields(role, recorded, self.credentials))
        self.fields.update(form_fields())
        tiers = dict.fromkeys(["", recorded.tier, *local_status().passed])
        self._offer("tier", [(name, name or "the strongest that works here") for name in tiers])
        providers = dict.fromkeys([recorded.provider, *PROVIDERS])
        self._offer("provider", [(name, PROVIDER_NAMES.get(name, name)) for name in providers])

    def _offer(self, name: str, values: list[tuple[str, str]]) -> None:
        cast("forms.ChoiceField", self.fields[name]).choices = values

    def keep_unsent(self) -> None:
        """Once all fields are there: one that was not sent is as recorded."""
        if self.is_bound:
            data = QueryDict(mutable=True)
            data.update({name: self.data.get(name, self.raw_initial(name)) for name in self.fields})
            self.data = data

    # What was recorded ----------------------------------------------------------------------------------------------

    def raw_initial(self, name: str) -> str:
        """The recorded value as a browser sends it."""
        value = self.get_initial_for_field(self.fields[name], name)
        return "" if value is None else str(value)

    def raw(self, name: str) -> str:
        """The present value as a browser sends it."""
        return str(self.data[name]) if self.is_bound else self.raw_initial(name)

    def touched(self, name: str) -> bool:
        return _plain(self.raw(name)) != _plain(self.raw_initial(name))

    def row(self, name: str) -> Row:
        raw = self.raw_initial(name)
        field = self.fields[name]
        shown = raw
        if isinstance(field, forms.ChoiceField):
            shown = next((label for value, label in _flat(field.choices) if value == raw), raw)
        return Row(self[name], self.touched(name), raw, shown or field.widget.attrs.get("placeholder", "empty"))

    @property
    def model_rows(self) -> list[ModelRows]:
        return [
            ModelRows(
                role,
                self.row(role),
                self.row(f"{role}_model"),
                [self.row(f"{role}_{name}") for name in SAMPLING],
                named=_is_named(self.recorded.root if role == "root" else self.recorded.sub_model),
            )
            for role in ROLES
        ]

    @property
    def limit_rows(self) -> list[Row]:
        return [self.row(PREFIX + spec.name) for spec in FIELDS]

    @property
    def sandbox_rows(self) -> list[Row]:
        return [self.row(name) for name in ("provider", "tier", "snapshots", "compaction", "clock", "random_seed")]

    # What is changed ------------------------------------------------------------------------------------------------

    def clean(self) -> dict[str, Any]:
        # A recorded value may lie outside of what the form takes; it is only checked when it is changed.
        for name in [name for name in self.errors if name in self.fields and not self.touched(name)]:
            del self.errors[name]
            self.cleaned_data[name] = self.get_initial_for_field(self.fields[name], name)
        if not self.errors:
            try:
                config = self.build_config()
                if config != self.recorded:
                    check_config(config, self.credentials)
            except InvalidConfig as error:
                self._refuse(str(error))
        return self.cleaned_data

    def _refuse(self, message: str) -> None:
        role = message.partition(".")[0].partition(":")[0]
        self.add_error(role if role in ROLES else None, message)

    def build_config(self) -> SessionConfig:
        """Raises `InvalidConfig`."""
        recorded = self.recorded
        changes = {
            "provider": self._value("provider", recorded.provider),
            "tier": self._value("tier", recorded.tier),
            "snapshots": cast("SnapshotPolicy", self._value("snapshots", recorded.snapshots)),
            "compaction": self.cleaned_data["compaction"] == "yes"
            if self.touched("compaction")
            else recorded.compaction,
            "determinism": Determinism(
                clock=self._value("clock", recorded.determinism.clock),
                seed=self._value("random_seed", recorded.determinism.seed),
            ),
            "limits": self._limits(),
            "root": self._model("root", recorded.root),
            "sub": None if self.raw("sub") == SAME else self._model("sub", recorded.sub_model),
        }
        return msgspec.structs.replace(recorded, **changes)

    def _value(self, name: str, recorded: Any) -> Any:
        return self.cleaned_data[name] if self.touched(name) else recorded

    def _limits(self) -> Limits:
        touched = {spec.name for spec in FIELDS if self.touched(PREFIX + spec.name)}
        asked = msgspec.structs.asdict(limits_from(self.cleaned_data)) if touched else {}
        return msgspec.structs.replace(self.recorded.limits, **{name: asked[name] for name in touched})

    def _model(self, role: str, recorded: ModelConfig) -> ModelConfig:
        choice = self.cleaned_data[role] or KEEP
        name = self.raw(f"{role}_model").strip()
        if choice == KEEP:
            named = _is_named(recorded) and self.touched(f"{role}_model")
            model = msgspec.structs.replace(recorded, model=name) if named else recorded
        else:
            try:
                model = choices.model_named(choice, name, self.credentials)
            except InvalidConfig as error:
                raise InvalidConfig(f"{role}: {error}") from error
        sampling = {each: self._value(f"{role}_{each}", getattr(recorded.sampling, each)) for each in SAMPLING}
        return msgspec.structs.replace(model, sampling=SamplingConfig(**sampling))


def _initial(recorded: SessionConfig) -> dict[str, Any]:
    values: dict[str, Any] = {
        "provider": recorded.provider,
        "tier": recorded.tier,
        "snapshots": recorded.snapshots,
        "compaction": "yes" if recorded.compaction else "no",
        "clock": recorded.determinism.clock,
        "random_seed": recorded.determinism.seed,
        "root": KEEP,
        "sub": SAME if recorded.sub is None else KEEP,
        **initial_values(recorded.limits),
    }
    for role, model in (("root", recorded.root), ("sub", recorded.sub_model)):
        values[f"{role}_model"] = model.model
        values |= {f"{role}_{name}": getattr(model.sampling, name) for name in SAMPLING}
    return values


def _model_fields(role: str, recorded: SessionConfig, credentials: list[LmCredential]) -> dict[str, forms.Field]:
    model = recorded.root if role == "root" else recorded.sub
    offered: list[Any] = [(SAME, "the same as the root model")] if role == "sub" else []
    if model is not None:
        offered.append((KEEP, f"{model.model[:LONG_CHARS]}, as recorded"))
    api_default = {"placeholder": "the API's own"}
    return {
        role: forms.ChoiceField(
            label=ROLES[role], required=False, choices=[*offered, *grouped(choices.options(credentials))]
        ),
        f"{role}_model": forms.CharField(label="Model name", required=False, max_length=200),
        f"{role}_temperature": forms.FloatField(
            label="Temperature",
            required=False,
            min_value=0,
            max_value=2,
            widget=forms.NumberInput(NUMBER | api_default),
        ),
        f"{role}_top_p": forms.FloatField(
            label="Top p", required=False, min_value=0, max_value=1, widget=forms.NumberInput(NUMBER | api_default)
        ),
        f"{role}_max_output_tokens": forms.IntegerField(
            label="Tokens per reply",
            required=False,
            min_value=1,
            max_value=10_000_000,
            widget=forms.NumberInput(api_default),
        ),
        f"{role}_seed": forms.IntegerField(
            label="Seed of sampling",
            required=False,
            min_value=0,
            max_value=2**31 - 1,
            widget=forms.NumberInput(api_default),
        ),
    }


def grouped(options: list[choices.Option]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Choices of a form under the names of their groups."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for option in options:
        groups.setdefault(option.group, []).append((option.value, option.label))
    return list(groups.items())


def _is_named(model: ModelConfig) -> bool:
    return model.api not in ("embedded", "scripted")


def _flat(offered: Any) -> list[tuple[str, str]]:
    """Choices without their groups."""
    found: list[tuple[str, str]] = []
    for value, label in offered:
        found += _flat(label) if isinstance(label, list | tuple) else [(str(value), str(label))]
    return found


def _plain(text: str) -> str:
    """Browsers send the lines of a text area with CRLF, and leave out its first empty one."""
    return text.replace("\r\n", "\n").strip("\n")
