"""What people call the parts of a configuration: the same words in forms and in lists of differences."""

from __future__ import annotations

from runs.form_limits import FIELDS

ROLES = {"root": "Root model", "sub": "Sub-call model"}
_WORDS = {
    "root": ROLES["root"],
    "sub": ROLES["sub"],
    "provider": "Provider",
    "tier": "Isolation",
    "snapshots": "Snapshots",
    "compaction": "Summarise long conversations",
    "determinism.clock": "Clock starts at",
    "determinism.seed": "Seed of randomness",
    "system_prompt": "System prompt",
    **{f"limits.{spec.name}": f"Limit: {spec.label}" + (f" ({spec.unit})" * bool(spec.unit)) for spec in FIELDS},
}


def words_of(what: str) -> str:
    """What the form calls a difference (`Difference.what`): `root.sampling.top_p` is the root model's top p."""
    if what in _WORDS:
        return _WORDS[what]
    role, _, rest = what.partition(".")
    name = rest.removeprefix("sampling.").replace("_", " ")
    return f"{_WORDS[role]}: {name}" if role in ROLES and name else what[:1].upper() + what[1:]
