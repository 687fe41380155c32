"""What a share shows of an event. Levels: `everything`; `masked` (see `masking`); `strict`: structure and figures only.

`strict` keeps what stands in a closed list: fields whose words are ours, with exactly those words, numbers, and names of
models. What a person, a model or a sandbox wrote is replaced by its length, whatever it holds and however it is encoded;
a field that a later version adds is hidden until somebody lists it here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from runs.engine.limits import Limits
from runs.shares.masking import Masker

Event = dict[str, Any]
LIMITS = frozenset(Limits.__struct_fields__)

WORDS: dict[str, frozenset[str]] = {
    "status": frozenset(("finished", "limited", "stopped", "failed", "running", "waiting", "unknown"))
    | {"ok", "error", "interrupted", "timeout", "killed"},
    "state": frozenset(("ready", "lost", "rebuilt", "ended")),
    "kind": frozenset(("turn", "leaf", "compaction", "final", "llm", "rlm")),
    "stream": frozenset(("stdout", "stderr")),
    "level": frozenset(("info", "warning", "error")),
    "role": frozenset(("system", "user", "assistant", "tool")),
    "holds": frozenset(("variables", "files", "memory")),
    "finish_reason": frozenset(("stop", "length", "end_turn", "max_tokens", "tool_calls", "content_filter")),
    "provider": frozenset(("local", "modal", "e2b", "daytona", "northflank", "blaxel", "runloop"))
    | {"cloudflare", "cloudflare_worker"},
    "tier": frozenset(("gvisor", "bubblewrap", "landlock", "wasm")),
    "cost_source": frozenset(("provider", "team price", "local", "scripted", "unknown")),
    "limit": LIMITS,
}
SUBCALL = re.compile(r"c\d{1,9}")
MODELS = frozenset(("model", "root_model", "sub_model"))
CONFIG = frozenset(("root_model", "sub_model", "provider", "limits"))
EMPTIED = frozenset(("labels", "variables", "changed", "dropped", "differences"))
"""Lists of words that are not ours."""
LONGEST_MODEL_CHARS = 100
CUT_CHARS = 200


def redactor(level: str, masker: Masker | None = None) -> Callable[[Event], Event]:
    """A function from an event as it is stored (with `seq`, `at`) to what is shown of it."""
    if level == "strict":
        return strict
    if level == "masked":
        return lambda event: _masked(event, masker or Masker())
    if level == "everything":
        return lambda event: event
    raise ValueError(f"{level} is no level of redaction")


def strict(event: Event) -> Event:
    shown: Event = {"seq": event["seq"], "at": event["at"], "type": event["type"]}
    for key, value in event.items():
        if key not in shown:
            shown[key] = _strict(key, value)
    return shown


def _strict(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if key in MODELS and isinstance(value, str):
        return value[:LONGEST_MODEL_CHARS]
    if key == "config":
        return {name: _strict(name, value[name]) for name in CONFIG & set(value)} if isinstance(value, dict) else {}
    if key == "limits":
        return {name: each for name, each in value.items() if name in LIMITS and isinstance(each, int | float | None)}
    if key == "context":
        size = value.get("size_bytes", 0) if isinstance(value, dict) else 0
        return {"name": "context", "kind": "text", "size_bytes": size if isinstance(size, int) else 0, "sha256": ""}
    if key == "error":
        return {"type": "Hidden", "message": "What went wrong is not shown by this link."}
    if key in EMPTIED:
        return []
    if key == "messages":
        return [{"role": _word("role", each.get("role")), "content": _hidden(each.get("content"))} for each in value]
    if key == "holds":
        return [each for each in value if each in WORDS["holds"]]
    if key == "subcall":
        return value if isinstance(value, str) and SUBCALL.fullmatch(value) else ""
    if key in WORDS:
        return _word(key, value)
    return _hidden(value)


def _word(key: str, value: Any) -> str:
    return value if isinstance(value, str) and value in WORDS[key] else ""


def _hidden(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("size"), int):
        return f"[hidden, {value['size']:,} bytes]"
    if isinstance(value, str):
        return f"[hidden, {len(value):,} characters]" if value else ""
    return ""


def _masked(event: Event, masker: Masker) -> Event:
    if event["type"] == "lm.output":
        # A reply as it streams is cut anywhere; the whole comes masked with `lm.finished`.
        return {**event, "text": ""}
    return {key: value if key in ("seq", "at", "type") else _mask(value, masker) for key, value in event.items()}


def _mask(value: Any, masker: Masker) -> Any:
    if isinstance(value, str):
        return masker.text(value)
    if isinstance(value, list):
        return [_mask(each, masker) for each in value]
    if isinstance(value, dict):
        if set(value) >= {"sha256", "size", "head"}:
            # Hash and length stay: the pages of the text are masked as a whole when they are asked for. What may be the
            # first half of a secret at the end of the head, or the second at the start of the tail, is left out.
            head, tail = masker.text(value["head"]), masker.text(value.get("tail", ""))
            return {**value, "head": head[:-CUT_CHARS], "tail": tail[CUT_CHARS:]}
        return {name: _mask(each, masker) for name, each in value.items()}
    return value
