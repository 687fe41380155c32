"""Contexts that are empty, binary, broken, huge or named with tricks: taken as what they are, or refused with a reason."""

from __future__ import annotations

import hashlib
import json
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.visitor import Plain, Visitor, scripted, turn

MB = 1000 * 1000
GIGABYTE = 1000 * MB
FACTS = """
import hashlib
data = context if isinstance(context, bytes) else context.encode() if isinstance(context, str) else repr(context).encode()
answer["content"] = f"{type(context).__name__} {len(context)} {hashlib.sha256(data).hexdigest()[:8]}"
answer["ready"] = True
"""
BINARY = bytes(range(256)) * 40
BROKEN = b"caf\xe9 and na\xefve, " * 3 + b"plain words that are right " * 40
JSON_TEXT = json.dumps({"rows": [{"n": n, "name": f"caf\u00e9 {n}"} for n in range(100)]}).encode()

# What is uploaded: the kind it is taken as, and type and length of `context` in the sandbox.
UPLOADS = {
    "binary": (BINARY, "bytes", f"bytes {len(BINARY)} "),
    "invalid UTF-8": (BROKEN, "text", f"str {len(BROKEN)} "),
    "JSON": (JSON_TEXT, "json", "dict 1 "),
    "JSON that is not": (b'{"rows": [1, 2', "text", "str 14 "),
    "deep JSON": (b"[" * 100_000 + b"]" * 100_000, "text", "str 200000 "),
    "a mark of byte order": (b"\xef\xbb\xbfwords", "text", "str 6 "),
    "only NUL": (bytes(5000), "bytes", "bytes 5000 "),
    "one byte": (b"x", "text", "str 1 "),
    "one long line": (b"y" * (5 * MB), "text", f"str {5 * MB} "),
    "control characters": (b"\x1b]0;title\x07\x1b[2J\r\nwords\x08\x7f" * 20, "text", "str "),
}


@pytest.fixture(scope="module")
def uploaded(stack: Any) -> dict[str, Plain]:
    """All of them, uploaded one after another."""
    client = Visitor.of(stack)
    return {name: client.upload(data, name) for name, (data, _, _) in UPLOADS.items()}


def test_contexts_are_what_they_are_to_the_code(client: Visitor, uploaded: dict[str, Plain]) -> None:
    sessions = {name: client.begin(scripted(turn(None, FACTS)), context=uploaded[name]["uuid"]) for name in UPLOADS}
    for name, (data, kind, beginning) in UPLOADS.items():
        assert (name, uploaded[name]["kind"]) == (name, kind)
        assert uploaded[name]["sha256"] == hashlib.sha256(data).hexdigest()
        session = client.ended(sessions[name])
        assert (name, session["status"]) == (name, "finished")
        assert session["answer"].startswith(beginning), name


def test_bytes_that_are_no_text_are_told_of(uploaded: dict[str, Plain]) -> None:
    assert "6 invalid UTF-8 sequences" in uploaded["invalid UTF-8"]["note"]
    assert "bytes object" in uploaded["binary"]["note"]


def test_an_empty_context_is_refused_with_a_reason(client: Visitor) -> None:
    for refused in (lambda: client.upload(b"", "empty"), lambda: client.context("")):
        assert "empty" in refusal(refused, 422)


def test_json_that_cannot_be_parsed_is_refused_when_json_was_asked_for(client: Visitor) -> None:
    assert "not JSON" in refusal(lambda: client.upload(b'{"rows": [1, 2', "broken.json", kind="json"), 422)


@pytest.mark.parametrize(
    "name",
    ["../../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a\0b\n\r\x1b[2Jc", "..", ".", "x" * 255, "<script>"],
)
def test_names_with_tricks_are_only_names(client: Visitor, name: str) -> None:
    context = client.upload(b"words", name)
    assert "/" not in context["name"]
    assert "\\" not in context["name"]
    assert context["name"].isprintable()
    assert context["name"]
    uuid = client.begin(scripted(turn(None, FACTS)), context=context["uuid"])
    assert client.ended(uuid)["answer"].startswith("str 5 ")


def test_a_huge_question_is_answered_and_a_larger_one_refused(client: Visitor) -> None:
    question = "word \u00e9\u4e2d\U0001f600 " * 20_000
    code = "answer['content'] = 'done'; answer['ready'] = True"
    uuid = client.begin(scripted(turn(None, code)), question=question[:200_000])
    assert client.ended(uuid)["answer"] == "done"
    assert "question" in refusal(lambda: client.begin(scripted(turn(None, code)), question="x" * 200_001), 422)
    assert "question" in refusal(lambda: client.begin(scripted(turn(None, code)), question=""), 422)


def test_a_body_of_a_gigabyte_is_refused_before_it_is_in_memory(client: Visitor) -> None:
    before_mb = client.forget_peaks("web")["web"]
    for path in ("/api/v1/contexts/upload", "/login/"):
        assert client.announce(path, GIGABYTE) == 413
        assert client.pour(path, _chunks(GIGABYTE)) < GIGABYTE / 4
    assert client.peak_mb("web") < before_mb + 150
    client.goes_on()


def test_a_gigabyte_is_uploaded_in_parts_and_worked_on(client: Visitor) -> None:
    client.upload(b"warm", "warm")
    before_mb = client.forget_peaks("web", "worker-0", "sandboxes")
    context = client.upload_in_parts(_chunks(GIGABYTE), GIGABYTE, "gigabyte.txt")
    assert (context["kind"], context["size_bytes"]) == ("text", GIGABYTE)
    code = "answer['content'] = f'{len(context)} {context.count(chr(10))}'; answer['ready'] = True"
    uuid = client.begin(scripted(turn(None, code)), context=context["uuid"], memory_mb=2048)
    small = client.begin(scripted(turn(None, code)), context=context["uuid"], memory_mb=256)
    assert client.ended(uuid, 180)["answer"] == f"{GIGABYTE} {GIGABYTE // 1000}"
    session = client.ended(small, 120)
    assert (session["status"], session["error_type"]) == ("failed", "ContextRefused")
    assert "does not fit in the memory" in session["error_message"]
    grown_mb = {name: client.peak_mb(name) - memory_mb for name, memory_mb in before_mb.items()}
    assert max(grown_mb.values()) < 100, grown_mb
    client.goes_on()


def refusal(refused: Any, status: int) -> str:
    """What the API says against it."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        refused()
    assert caught.value.code == status
    return "".join(caught.value.__notes__)


def _chunks(size_bytes: int) -> Iterator[bytes]:
    """Lines of 1,000 bytes, a megabyte at a time."""
    chunk = (b"x" * 999 + b"\n") * 1000
    for _ in range(size_bytes // MB):
        yield chunk
