"""The limits of a session as form fields: every field of `Limits`, in the words and units of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from django import forms

from runs.engine.limits import Limits

MIB = 1024 * 1024
PREFIX = "limit_"


@dataclass(frozen=True, slots=True)
class LimitField:
    """`scale`: how many of the limit's own units one unit of the form is."""

    name: str
    label: str
    unit: str
    least: float
    most: float
    help: str = ""
    scale: int = 1
    whole: bool = True


FIELDS = (
    LimitField(
        "max_cost_usd",
        "Cost",
        "USD",
        0,
        100_000,
        "Whole tree. Calls without a known price are counted as 0.",
        whole=False,
    ),
    LimitField("max_wall_s", "Time", "s", 1, 30 * 86_400, "From start to end."),
    LimitField("max_tokens", "Tokens", "", 1, 10**12, "Read and written, whole tree."),
    LimitField("max_lm_calls", "LM calls", "", 1, 10**9, "Whole tree."),
    LimitField("max_depth", "Depth", "", 1, 32, "1: the root only; its sub-calls are plain LM calls."),
    LimitField("max_steps_per_node", "Steps per node", "", 1, 10_000),
    LimitField("max_nodes", "Nodes", "", 1, 10**6),
    LimitField("max_consecutive_errors", "Errors in a row", "", 1, 1_000, "Cells of one node."),
    LimitField("cell_timeout_s", "Time per cell", "s", 1, 86_400, "Waiting for sub-calls is not counted."),
    LimitField("memory_mb", "Memory per sandbox", "MB", 64, 1_048_576),
    LimitField("max_sandbox_s", "Sandbox time", "s", 1, 365 * 86_400, "Of all sandboxes together."),
    LimitField("max_output_bytes", "Output", "MiB", 1, 10**6, "Whole tree.", scale=MIB),
    LimitField("cell_output_bytes", "Output per cell", "MiB", 1, 1_024, scale=MIB),
    LimitField("prompt_output_chars", "Output shown to the model", "characters", 100, 10**6, "All of it is recorded."),
    LimitField("max_gpu_s", "GPU time", "s", 0, 365 * 86_400, "Of all GPUs together."),
)
"""Ordered by how often people change them."""

_INFO = {info.name: info for info in msgspec.structs.fields(Limits)}


def optional(name: str) -> bool:
    """May the limit be left out, which means that there is none?"""
    return _INFO[name].default is None or "None" in str(_INFO[name].type)


def form_fields() -> dict[str, forms.Field]:
    return {PREFIX + spec.name: _form_field(spec) for spec in FIELDS}


def initial_values(limits: Limits | None = None) -> dict[str, Any]:
    """`limits`, or the defaults of a new session, in the form's units."""
    limits, values = limits or Limits(), {}
    for spec in FIELDS:
        value = getattr(limits, spec.name)
        values[PREFIX + spec.name] = None if value is None else _tidy(value / spec.scale)
    return values


def limits_from(cleaned: dict[str, Any]) -> Limits:
    """The limits of a valid form."""
    values: dict[str, Any] = {}
    for spec in FIELDS:
        value = cleaned.get(PREFIX + spec.name)
        values[spec.name] = None if value is None else _tidy(value * spec.scale)
    return msgspec.convert(values, Limits)


def _form_field(spec: LimitField) -> forms.Field:
    kind = forms.IntegerField if spec.whole else forms.FloatField
    label = f"{spec.label} ({spec.unit})" if spec.unit else spec.label
    free = optional(spec.name)
    field = kind(
        label=label,
        required=not free,
        min_value=spec.least,  # type: ignore[arg-type]  # whole numbers for whole fields
        max_value=spec.most,  # type: ignore[arg-type]
        help_text=spec.help + (" Empty: no limit." if free else ""),
    )
    if free:
        field.widget.attrs["placeholder"] = "no limit"
    return field


def _tidy(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value
