"""Nothing that somebody wrote gets through `strict`, and masking finds secrets in the forms in which they leak."""

from __future__ import annotations

import base64
import html
import json
import random
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.events import types
from runs.events.types import AnyEvent, BlobText, Event
from runs.shares.masking import HIDDEN, Masker
from runs.shares.redaction import redactor, strict

SECRETS = 1_000
ALPHABET = string.ascii_letters + string.digits + "_-!?"


def planted(count: int = SECRETS) -> list[str]:
    source = random.Random(7)
    return ["".join(source.choices(ALPHABET, k=source.randint(10, 32))) for _ in range(count)]


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "base64": lambda secret: base64.b64encode(f"key={secret};".encode()).decode(),
    "base64 for addresses": lambda secret: base64.urlsafe_b64encode(f"k={secret}".encode()).decode(),
    "hex": lambda secret: secret.encode().hex().upper(),
    "URL": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "URL, as needed": lambda secret: quote(secret, safe=""),
    "HTML": lambda secret: "".join(f"&#x{ord(each):X};" for each in secret),
    "JSON": lambda secret: "".join(f"\\u{ord(each):04x}" for each in secret),
    "ANSI between": lambda secret: "\x1b[31m".join(secret),
    "zero width between": lambda secret: "\u200b".join(secret),
    "a line each": lambda secret: "\n".join(secret),
    "reversed": lambda secret: secret[::-1],
    "escaped HTML": lambda secret: html.escape(secret),
}


def carriers(text: str) -> list[dict[str, Any]]:
    """Every kind of event with `text` in every place that takes one."""
    return [{"seq": 1, "at": 1, **msgspec.to_builtins(_filled(kind, text))} for kind in AnyEvent.__args__]


def _filled(kind: type[Event], text: str) -> Event:
    values = {field.name: _value(field.type, text) for field in msgspec.structs.fields(kind)}
    return kind(**values)


def _value(type_: Any, text: str) -> Any:
    said = str(type_)
    if type_ is str or type_ == types.Text:
        return text
    if "BlobText" in said:
        return BlobText("0" * 64, 9999, text, text)
    if "ErrorInfo" in said:
        return types.ErrorInfo(text, text, text)
    if "MessageInfo" in said:
        return [types.MessageInfo(text, text)]
    if "VariableInfo" in said:
        return [types.VariableInfo(text, text, text, text)]
    if said.startswith("list[dict"):
        return [{"what": text, "before": text, "after": text}]
    if said.startswith("list"):
        return [text]
    if said.startswith("dict"):
        return {"name": text, "size_bytes": 3, text: text, "limits": {text: text, "max_steps_per_node": 3}}
    if type_ is bool:
        return True
    return 1


def test_the_carriers_hold_the_text_in_every_event() -> None:
    found = [event for event in carriers("needle") if "needle" in json.dumps(event)]
    without = {event["type"] for event in carriers("needle")} - {event["type"] for event in found}
    assert without == {"step.waiting", "step.resumed"}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_strict_shows_none_of_a_thousand_planted_secrets(encoding: str) -> None:
    shown = 0
    for secret in planted():
        text = f"before {ENCODINGS[encoding](secret)} after"
        for event in carriers(text):
            # The name of the model is shown: who runs the session chose it from the list.
            event = {key: value for key, value in event.items() if key != "model"}
            shown += ENCODINGS[encoding](secret) in json.dumps(strict(event), ensure_ascii=False)
            shown += secret in json.dumps(strict(event))
    assert shown == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_masking_finds_known_secrets_in_every_encoding(encoding: str) -> None:
    secrets = planted(200)
    masker = Masker(secrets)
    missed = []
    for secret in secrets:
        text = f"before {ENCODINGS[encoding](secret)} after"
        masked = masker.text(text)
        if ENCODINGS[encoding](secret) in masked or HIDDEN not in masked:
            missed.append(secret)
        assert masked.startswith("before ")
        assert masked.endswith(" after")
    assert missed == []


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghijklmnopqrstuv",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-1234567890-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "Authorization: Bearer abcdefghijklmnop",
        "password = 'hunter2!'",
        "postgres://me:secret@db.example.org/x",
        "ada.lovelace@example.org",
        "+44 20 7946 0958",
        "MRN: 00123456",
        "078-05-1120",
    ],
)
def test_masking_finds_what_looks_like_a_secret_or_a_person(text: str) -> None:
    masked = Masker().text(f"see {text} there")
    assert HIDDEN in masked
    assert text not in masked
    assert masked.startswith("see ")


@pytest.mark.parametrize(
    "text",
    ["", "The answer is 42.", "def f(x):\n    return x[1:10]", "2026-11-23 18:00", "node 12 of 1000", "1.234.567"],
)
def test_masking_leaves_other_texts_alone(text: str) -> None:
    assert Masker(["hunter2hunter2"]).text(text) == text


@given(st.text(max_size=200), st.text(alphabet=ALPHABET, min_size=8, max_size=30), st.text(max_size=200))
def test_masking_hides_the_secret_wherever_it_stands(before: str, secret: str, after: str) -> None:
    masked = Masker([secret]).text(before + secret + after)
    assert secret.lower() not in masked.replace(HIDDEN, "\0").lower()


def test_a_streamed_reply_is_not_shown_masked_before_it_is_whole() -> None:
    mask = redactor("masked", Masker(["hunter2hunter2"]))
    event = {"seq": 1, "at": 1, "type": "lm.output", "node": 0, "call": 1, "text": "hunter2hun"}
    assert mask(event)["text"] == ""
    cut = {**event, "type": "cell.output", "text": {"sha256": "0" * 64, "size": 9, "head": "x" * 300 + "hunter2hun"}}
    assert "hunter" not in mask(cut)["text"]["head"]


def test_strict_keeps_what_the_tree_needs() -> None:
    event = {"seq": 3, "at": 9, "type": "node.started", "node": 4, "parent": 1, "depth": 2, "prompt": "p", "model": "m"}
    event |= {"step": 2, "cell": 1, "subcall": "c7", "index": 0}
    assert strict(event) == {**event, "prompt": "[hidden, 1 characters]"}
    assert strict({**event, "status": "finished"})["status"] == "finished"
    assert strict({**event, "status": "hunter2"})["status"] == ""
    assert strict({**event, "subcall": "hunter2"})["subcall"] == ""


def test_a_field_that_nobody_has_listed_is_hidden() -> None:
    event = {"seq": 1, "at": 1, "type": "log", "new_field": "hunter2", "other": {"a": ["hunter2"]}, "more": ["hunter2"]}
    assert "hunter2" not in json.dumps(strict(event))


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="no level"):
        redactor("some")
